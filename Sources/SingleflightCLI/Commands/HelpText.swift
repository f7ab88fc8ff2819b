import Foundation

/// Help texts, which the parser breaks at the terminal's width.
enum HelpText {
    /// `text` with each of its paragraphs on one line, so that it is broken once and not a second time in the middle.
    ///
    /// Lines that are indented, and those before and after them, stay lines of their own.
    static func flowing(_ text: String) -> String {
        var lines: [Substring] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if let last = lines.last, isProse(last), isProse(line) {
                lines[lines.count - 1] = "\(last) \(line)"
            } else {
                lines.append(line)
            }
        }
        return lines.joined(separator: "\n")
    }

    private static func isProse(_ line: Substring) -> Bool { !line.isEmpty && !line.hasPrefix(" ") }

    /// Where the parser breaks lines.
    static var columns: Int {
        if let columns = ProcessInfo.processInfo.environment["COLUMNS"].flatMap({ Int($0) }), columns > 0 {
            return columns
        }
        let terminal = Terminal(descriptor: StandardStream.output.descriptor, color: .never, environment: [:])
        return terminal.width ?? 80
    }

    /// `help` with its line of usage broken between two options, where it is longer than `columns`.
    static func withUsageBroken(_ help: String, at columns: Int) -> String {
        help.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            line.hasPrefix("USAGE: ") ? broken(line, at: columns) : String(line)
        }.joined(separator: "\n")
    }

    private static func broken(_ usage: Substring, at columns: Int) -> String {
        let indentation = String(repeating: " ", count: 9)
        var lines: [String] = []
        var line = ""
        for word in options(of: usage) {
            if !line.isEmpty, line.count + 1 + word.count > columns {
                lines.append(line)
                line = indentation + word
            } else {
                line += (line.isEmpty ? "" : " ") + word
            }
        }
        return (lines + [line]).joined(separator: "\n")
    }

    /// The words of a line of usage; what stands in brackets is one.
    private static func options(of usage: Substring) -> [String] {
        var depth = 0
        var words = [""]
        for character in usage {
            if character == "[" { depth += 1 }
            if character == "]" { depth -= 1 }
            if character == " ", depth == 0 { words.append("") } else { words[words.count - 1].append(character) }
        }
        return words
    }
}
