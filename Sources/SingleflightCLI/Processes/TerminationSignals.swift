import UnixSignals

/// Ctrl-C and SIGTERM as a reason to end in good order.
enum TerminationSignals {
    /// Runs `operation`, and cancels it when a signal asks us to end; waits for its clean-up in any case.
    ///
    /// - Throws: ``SilentExit`` with the signal's status after a signal, else what `operation` throws.
    static func cancelling<Value: Sendable>(_ operation: @escaping @Sendable @concurrent () async throws -> Value)
        async throws
        -> Value
    {
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        return try await withThrowingTaskGroup(of: Ending<Value>.self) { group in
            group.addTask { .finished(try await operation()) }
            group.addTask {
                for await signal in signals { return .signaled(signal == .sigint ? .interrupted : .terminated) }
                throw CancellationError()
            }
            defer { group.cancelAll() }
            switch try await group.next() {
            case .finished(let value): return value
            case .signaled(let status):
                group.cancelAll()
                // What the operation says of having been canceled is of no interest.
                while let _ = await group.nextResult() {}
                throw SilentExit(status: status)
            case nil: throw CancellationError()
            }
        }
    }

    private enum Ending<Value: Sendable>: Sendable {
        case finished(Value)
        case signaled(ExitStatus)
    }
}
