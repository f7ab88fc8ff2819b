import UnixSignals

/// The end of commands that would go on for ever.
enum WatcherSignals {
    /// Runs `operation` until it ends or a signal cancels it, and waits for its clean-up.
    ///
    /// Ctrl-C is how people end a watcher: that is success. SIGTERM and SIGHUP are not.
    ///
    /// - Throws: ``SilentExit`` after any signal but Ctrl-C, else what `operation` throws.
    static func running(_ operation: @escaping @Sendable @concurrent () async throws -> Void) async throws {
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup, .sigquit)
        let signal = try await withThrowingTaskGroup(of: UnixSignal?.self) { group in
            group.addTask {
                try await operation()
                return nil
            }
            group.addTask {
                for await signal in signals { return signal }
                return nil
            }
            defer { group.cancelAll() }
            let first = try await group.next() ?? nil
            guard let first else { return UnixSignal?.none }
            group.cancelAll()
            do {
                while try await group.next() != nil {}
            } catch let error where error is OutputClosed || error is CancellationError {
                // The end that was asked for.
            }
            return first
        }
        if let signal, signal != .sigint { throw SilentExit(status: .terminated) }
    }
}
