import ArgumentParser

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// When to color the output.
package enum ColorChoice: String, CaseIterable, ExpressibleByArgument, Sendable {
    case auto, always, never
}

/// What the place that is written to can show.
package struct Terminal: Sendable {
    /// Whether somebody looks at it now, so that a line may be rewritten in place.
    package var isInteractive = false
    /// Cells in a line; nil where lines may be as long as they are.
    package var width: Int?
    /// Whether text beyond ASCII arrives as what it is.
    package var isASCII = false
    package var isColored = false

    package init(isInteractive: Bool = false, width: Int? = nil, isASCII: Bool = false, isColored: Bool = false) {
        self.isInteractive = isInteractive
        self.width = width
        self.isASCII = isASCII
        self.isColored = isColored
    }

    /// Looks at `descriptor` and the environment. `NO_COLOR`, set to anything but nothing, turns `auto` off.
    package init(descriptor: Int32, color: ColorChoice, environment: [String: String]) {
        let isDumb = environment["TERM"] == "dumb"
        isInteractive = isatty(descriptor) == 1 && !isDumb
        width = isInteractive ? Self.columns(of: descriptor) : nil
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
        // A pipe has no locale of its own and is read by programs, which expect UTF-8.
        isASCII = isInteractive && !(locale?.uppercased().replacing("-", with: "").contains("UTF8") ?? false)
        switch color {
        case .always: isColored = true
        case .never: isColored = false
        case .auto: isColored = isInteractive && (environment["NO_COLOR"] ?? "").isEmpty
        }
    }

    private static func columns(of descriptor: Int32) -> Int? {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }
}

/// The few ways text stands out.
package enum TextStyle: String, Sendable {
    case bold = "1"
    case dim = "2"
    case bad = "31"
    case good = "32"
    /// Black on yellow. Yellow alone cannot be read on white: its contrast is 1.7 in the colors of xterm, and 3 in
    /// those of other terminals, where this has 4 and more on light and dark ones.
    case warning = "30;43"
}

extension Terminal {
    /// `text` in `style`, or as it is where color is off.
    package func styled(_ text: String, _ style: TextStyle?) -> String {
        guard isColored, let style, !text.isEmpty else { return text }
        return "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m"
    }

    /// `text` from elsewhere, safe to print here.
    package func safe(_ text: String) -> String { SafeText.escape(text, ascii: isASCII) }

    /// `text` of this program's own, safe to print here: its signs beyond ASCII become words of ASCII, where keys and
    /// other text from elsewhere are escaped so that they stay recognizable.
    package func own(_ text: String) -> String {
        guard isASCII else { return safe(text) }
        return safe(Self.asciiSigns.reduce(text) { $0.replacing($1.sign, with: $1.replacement) })
    }

    private static let asciiSigns: [(sign: String, replacement: String)] = [
        ("µ", "u"), ("·", "|"), ("…", "..."), ("±", "+/-"), ("↑", "up"), ("↓", "down"), ("⏎", "enter"),
    ]

    package func duration(_ duration: Duration) -> String { DurationText.describe(duration, ascii: isASCII) }
}
