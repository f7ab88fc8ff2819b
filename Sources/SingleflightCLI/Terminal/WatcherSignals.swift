#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// The end of commands that would go on for ever.
enum WatcherSignals {
    /// Runs `operation` until it ends or a signal cancels it, and waits for its clean-up.
    ///
    /// Ctrl-C is how people end a watcher: that is success. Any other signal is not.
    ///
    /// - Throws: ``SilentExit`` after any signal but Ctrl-C, else what `operation` throws.
    static func running(_ operation: @escaping @Sendable @concurrent () async throws -> Void) async throws {
        switch try await TerminationSignals.ending(of: operation) {
        case .finished, .signaled(SIGINT): break
        case .signaled(let number): throw SilentExit(status: .signal(number))
        }
    }
}
