/// A key as people see it, who paste it into their shell.
package enum ShellWord {
    /// `text` in quotes: `'front page'`, or `$'a\xffb'` where bytes have to be named, as bash, zsh and ksh read it.
    package static func quoted(_ text: String) -> String { named(text) ?? "'\(text)'" }

    /// `text` as it is, and quoted only where bytes have to be named.
    package static func plain(_ text: String) -> String { named(text) ?? text }

    /// nil if `text` can be shown as it is.
    private static func named(_ text: String) -> String? {
        guard SafeText.escape(text) != text || text.unicodeScalars.contains(where: { $0 == "'" || $0 == "\\" }) else {
            return nil
        }
        return "$'" + text.unicodeScalars.map(name).joined() + "'"
    }

    private static func name(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\n": return "\\n"
        case "\r": return "\\r"
        case "\t": return "\\t"
        case "'", "\\": return "\\\(scalar)"
        default: break
        }
        let text = String(Character(scalar))
        guard SafeText.escape(text) != text else { return text }
        return ByteText.bytes(text).map { "\\x" + $0.hexadecimal }.joined()
    }
}
