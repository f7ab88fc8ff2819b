#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A terminal that is drawn on as a whole, on its alternate screen, so that what was there comes back afterwards.
struct TerminalScreen: Sendable {
    struct Size: Equatable, Sendable {
        var columns: Int
        var rows: Int
    }

    let output: StandardStream
    /// Where keys come from; nil if that is no terminal.
    let keyboard: Int32?
    private let mode: TerminalMode?

    /// Takes the terminal over while `body` runs, and gives it back as it was whichever way `body` ends, a crash
    /// included.
    static func withScreen(
        output: StandardStream = .output,
        input: Int32 = STDIN_FILENO,
        _ body: (TerminalScreen) async throws -> Void
    ) async throws {
        let mode = TerminalMode(of: input)
        let screen = TerminalScreen(output: output, keyboard: mode == nil ? nil : input, mode: mode)
        CrashRestoration.arm(output: output.descriptor, text: Self.leave, input: input, attributes: mode?.attributes)
        try screen.enter()
        defer {
            screen.leave()
            CrashRestoration.disarm()
        }
        try await body(screen)
    }

    /// As it is now; a terminal that does not say gets the size that every terminal has.
    var size: Size {
        var size = winsize()
        guard ioctl(output.descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
            return Size(columns: 80, rows: 24)
        }
        return Size(columns: Int(size.ws_col), rows: Int(size.ws_row))
    }

    /// Replaces everything on the screen, in one write and without clearing first: no flicker.
    func draw(_ lines: [String]) throws {
        try output.write(Self.frame(lines, on: size))
    }

    /// Gives the terminal back to the shell until we are continued, as Ctrl-Z does with programs that leave it as it
    /// is.
    func suspend() {
        leave()
        // To this thread: the process is stopped before `raise` returns. Threads of a pool have it blocked.
        var stop = sigset_t()
        var before = sigset_t()
        sigemptyset(&stop)
        sigaddset(&stop, SIGTSTP)
        pthread_sigmask(SIG_UNBLOCK, &stop, &before)
        raise(SIGTSTP)
        pthread_sigmask(SIG_SETMASK, &before, nil)
        try? enter()
    }

    private func enter() throws {
        if let keyboard { mode?.enterKeyMode(on: keyboard) }
        do {
            try output.write(Self.enter)
        } catch {
            if let keyboard { mode?.restore(on: keyboard) }
            throw error
        }
    }

    private func leave() {
        output.attempt(Self.leave)
        if let keyboard { mode?.restore(on: keyboard) }
    }

    static func frame(_ lines: [String], on size: Size) -> String {
        let cleared = lines.map { line in
            // Behind the last column the cursor still stands on it, and clearing the rest of the line takes it away.
            SafeText.width(withoutStyles(line)) < size.columns ? line + "\u{1B}[K" : line
        }
        let rest = lines.count < size.rows ? "\r\n\u{1B}[J" : ""
        return beginUpdate + "\u{1B}[H" + cleared.joined(separator: "\r\n") + rest + endUpdate
    }

    /// `text` without the sequences that ``Terminal/styled(_:_:)`` and ``marked(_:)`` put into it.
    private static func withoutStyles(_ text: String) -> String {
        text.split(separator: "\u{1B}[", omittingEmptySubsequences: false).enumerated().map { index, part in
            index == 0 ? part : part.drop { $0 != "m" }.dropFirst()
        }.joined()
    }

    /// A line that stands out, on terminals without colors as well.
    static func marked(_ text: String) -> String { "\u{1B}[7m\(text)\u{1B}[27m" }

    /// Alternate screen, no cursor, and no wrapping: a line that is too long must not push others off.
    private static let enter = "\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l"
    private static let leave = "\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l"
    /// Terminals that know synchronized updates show the frame as one; the others ignore it.
    private static let beginUpdate = "\u{1B}[?2026h"
    private static let endUpdate = "\u{1B}[?2026l"
}

/// How a terminal treats what is typed.
private struct TerminalMode: Sendable {
    let attributes: termios

    /// nil for what is no terminal.
    init?(of descriptor: Int32) {
        var attributes = termios()
        guard tcgetattr(descriptor, &attributes) == 0 else { return nil }
        self.attributes = attributes
    }

    /// Every key arrives at once, as a byte and not as a signal, and is not shown.
    func enterKeyMode(on descriptor: Int32) {
        var changed = attributes
        changed.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
        tcsetattr(descriptor, TCSAFLUSH, &changed)
    }

    func restore(on descriptor: Int32) {
        var attributes = attributes
        tcsetattr(descriptor, TCSAFLUSH, &attributes)
    }
}

extension StandardStream {
    /// Writes `text` if that is possible; for clean-up, where there is nobody to tell.
    fileprivate func attempt(_ text: String) { try? write(text) }
}
