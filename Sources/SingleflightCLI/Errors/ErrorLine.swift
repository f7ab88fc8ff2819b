/// The one place where lines about errors are made. What others wrote stands in them: a server, a leader's label, a
/// reason. It can neither move the cursor nor forge a second line, and no password is in it.
package enum ErrorLine {
    /// `message` as people get it, in one line.
    package static func text(_ message: String) -> String { "singleflight: " + safe(message) }

    static func safe(_ message: String) -> String { SafeText.escape(Redaction.withoutSecrets(message)) }

    /// Writes the line; there is nobody to tell when that fails.
    static func note(_ message: String) { StandardStream.error.note(text(message)) }
}
