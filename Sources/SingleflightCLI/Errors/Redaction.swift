/// Takes passwords out of text before anybody reads it.
package enum Redaction {
    /// `text` with the password of every URL in it replaced by `***`.
    ///
    /// Reads generously: everything up to the last `@` of a word that holds `://` may be credentials, so a password
    /// with an unescaped `/` or `@` is hidden as well, at the price of hiding an `@` in a path.
    package static func withoutSecrets(_ text: String) -> String {
        var redacted = ""
        var word = ""
        for character in text {
            if character.isWhitespace {
                redacted += withoutSecrets(word: word)
                redacted.append(character)
                word = ""
            } else {
                word.append(character)
            }
        }
        return redacted + withoutSecrets(word: word)
    }

    /// Looks at bytes: to Swift an `@` and a combining character beside it are one character, which is not an `@`.
    private static func withoutSecrets(word: String) -> String {
        guard let scheme = word.utf8.firstRange(of: "://".utf8) else { return word }
        let tail = word.utf8[scheme.upperBound...]
        guard let at = tail.lastIndex(of: UInt8(ascii: "@")) else { return withoutPasswordParameter(word) }
        let credentials = tail[..<at]
        guard let colon = credentials.firstIndex(of: UInt8(ascii: ":")) else { return withoutPasswordParameter(word) }
        return withoutPasswordParameter(word[..<credentials.index(after: colon)] + "***" + word[at...])
    }

    private static func withoutPasswordParameter(_ word: String) -> String {
        guard let name = word.utf8.firstRange(of: "password=".utf8) else { return word }
        let value = word.utf8[name.upperBound...]
        let end = value.firstIndex(of: UInt8(ascii: "&")) ?? value.endIndex
        return word[..<name.upperBound] + "***" + word[end...]
    }
}
