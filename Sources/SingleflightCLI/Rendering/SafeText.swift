/// Text that came from elsewhere, made safe to print: it can neither move the cursor nor forge a line.
package enum SafeText {
    /// `text` with control characters, line separators, direction overrides and bytes that are no text escaped.
    ///
    /// With `ascii`, everything beyond ASCII is escaped as well, for terminals that would show rubbish.
    package static func escape(_ text: String, ascii: Bool = false) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            if let replacement = replacement(for: scalar, ascii: ascii) {
                escaped += replacement
            } else {
                escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// How many terminal cells `text` takes; `text` is already escaped.
    package static func width(_ text: String) -> Int {
        text.reduce(0) { $0 + width($1) }
    }

    /// The longest beginning of `text` that fits in `cells`, with a mark at its end if something was cut.
    package static func truncate(_ text: String, to cells: Int, ascii: Bool = false) -> String {
        guard width(text) > cells else { return text }
        let mark = ascii ? "..." : "…"
        guard cells > width(mark) else { return String(mark.prefix(cells)) }
        var room = cells - width(mark)
        let kept = text.prefix { character in
            room -= width(character)
            return room >= 0
        }
        return kept + mark
    }

    /// `text` on lines of at most `cells`, broken between words; a word that is longer is cut. At least one line.
    package static func wrapped(_ text: String, to cells: Int) -> [String] {
        let cells = max(cells, 1)
        var lines = [""]
        for var word in text.split(separator: " ", omittingEmptySubsequences: false).map(String.init) {
            let line = lines[lines.count - 1]
            if width(line) + 1 + width(word) <= cells, !line.isEmpty || lines.count > 1 {
                lines[lines.count - 1] += (line.isEmpty ? "" : " ") + word
                continue
            }
            if !line.isEmpty { lines.append("") }
            while width(word) > cells {
                let piece = pieces(of: word, to: cells)[0]
                lines[lines.count - 1] = piece
                lines.append("")
                word.removeFirst(piece.count)
            }
            lines[lines.count - 1] = word
        }
        return lines
    }

    /// `text` in pieces of at most `cells`, broken anywhere; at least one.
    package static func pieces(of text: String, to cells: Int) -> [String] {
        var pieces = [""]
        var room = cells
        for character in text {
            if width(character) > room, !pieces[pieces.count - 1].isEmpty {
                pieces.append("")
                room = cells
            }
            pieces[pieces.count - 1].append(character)
            room -= width(character)
        }
        return pieces
    }

    private static func replacement(for scalar: Unicode.Scalar, ascii: Bool) -> String? {
        switch scalar {
        case "\n": return "\\n"
        case "\r": return "\\r"
        case "\t": return "\\t"
        case "\u{1B}": return "\\e"
        default: break
        }
        if let byte = ByteText.byte(scalar) { return "\\x" + byte.hexadecimal }
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator, .surrogate: return hexadecimal(scalar)
        // Format characters include the direction overrides; the joiner is what emoji are built with.
        case .format where scalar != "\u{200D}": return hexadecimal(scalar)
        default: return ascii && !scalar.isASCII ? hexadecimal(scalar) : nil
        }
    }

    private static func hexadecimal(_ scalar: Unicode.Scalar) -> String {
        "\\u{" + String(scalar.value, radix: 16) + "}"
    }

    private static func width(_ character: Character) -> Int {
        character.unicodeScalars.reduce(0) { max($0, width($1)) }
    }

    private static func width(_ scalar: Unicode.Scalar) -> Int {
        if scalar.isASCII { return 1 }
        if scalar.properties.isEmojiPresentation || scalar == "\u{FE0F}" { return 2 }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        // The blocks that Unicode's EastAsianWidth.txt marks as wide or full-width.
        switch scalar.value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xA960...0xA97C, 0xAC00...0xD7A3, 0xF900...0xFAFF,
            0xFE30...0xFE6F, 0xFF01...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
            return 2
        default: return 1
        }
    }
}
