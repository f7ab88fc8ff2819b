#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Gives the terminal back when this process crashes; the crash then goes on as if nothing had caught it.
///
/// What the signal handler needs is laid out before: a handler may neither allocate nor lock.
enum CrashRestoration {
    /// What a failed precondition, a bad access and `abort` raise.
    private static let signals = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV]

    /// Catches those signals until ``disarm()``.
    static func arm(output: Int32, text: String, input: Int32, attributes: termios?) {
        disarm()
        let bytes = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: text.utf8.count)
        _ = bytes.initialize(from: text.utf8)
        let state = UnsafeMutablePointer<CrashState>.allocate(capacity: 1)
        state.initialize(
            to: CrashState(
                output: output,
                text: bytes.baseAddress,
                length: text.utf8.count,
                input: input,
                attributes: attributes ?? termios(),
                hasAttributes: attributes != nil
            )
        )
        crashState = state
        for number in signals { signal(number, restoreTerminal) }
    }

    static func disarm() {
        guard let state = crashState else { return }
        for number in signals { signal(number, SIG_DFL) }
        crashState = nil
        state.pointee.text?.deallocate()
        state.deallocate()
    }
}

private struct CrashState {
    var output: Int32
    var text: UnsafeMutablePointer<UInt8>?
    var length: Int
    var input: Int32
    var attributes: termios
    var hasAttributes: Bool
}

/// Unsafe because the signal handler reads it, and a handler may take no lock. It is sound: the one command that draws
/// writes it, before any handler is set and after all are reset, and in between nobody writes.
private nonisolated(unsafe) var crashState: UnsafeMutablePointer<CrashState>?

private func restoreTerminal(_ number: Int32) {
    // The same signal ends the process as soon as this returns.
    signal(number, SIG_DFL)
    if let state = crashState {
        _ = write(state.pointee.output, state.pointee.text, state.pointee.length)
        if state.pointee.hasAttributes {
            _ = withUnsafePointer(to: &state.pointee.attributes) { tcsetattr(state.pointee.input, TCSAFLUSH, $0) }
        }
    }
    raise(number)
}
