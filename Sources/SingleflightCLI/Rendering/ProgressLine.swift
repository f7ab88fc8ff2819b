/// What is going on, on standard error: one line rewritten in place on a terminal, plain lines elsewhere.
package final class ProgressLine {
    private let terminal: Terminal
    private let stream: StandardStream
    private let clock = ContinuousClock()
    private var lastUpdate: ContinuousClock.Instant?
    private var isDrawn = false

    package init(terminal: Terminal, stream: StandardStream = .error) {
        self.terminal = terminal
        self.stream = stream
    }

    /// Replaces the live line, at most twenty times a second; nothing where there is no live line.
    package func update(_ text: @autoclosure () -> String) {
        guard terminal.isInteractive else { return }
        if let lastUpdate, lastUpdate.duration(to: clock.now) < .milliseconds(50) { return }
        lastUpdate = clock.now
        let width = terminal.width ?? 80
        try? stream.write(
            "\r\u{1B}[2K" + SafeText.truncate(terminal.safe(text()), to: width - 1, ascii: terminal.isASCII)
        )
        isDrawn = true
    }

    /// Writes a line that stays, in place of the live one.
    package func note(_ text: String, style: TextStyle? = nil) {
        clear()
        stream.note(terminal.styled(terminal.safe(text), style))
        lastUpdate = nil
    }

    package func clear() {
        guard isDrawn else { return }
        try? stream.write("\r\u{1B}[2K")
        isDrawn = false
    }
}
