#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Ctrl-C, SIGTERM and their like as a reason to end in good order.
enum TerminationSignals {
    static let numbers = [SIGHUP, SIGINT, SIGQUIT, SIGTERM]

    /// Runs `operation`, and cancels it when a signal asks us to end; waits for its clean-up in any case.
    ///
    /// - Throws: ``SilentExit`` with the signal's status after a signal, else what `operation` throws.
    static func cancelling<Value: Sendable>(_ operation: @escaping @Sendable @concurrent () async throws -> Value)
        async throws
        -> Value
    {
        switch try await ending(of: operation) {
        case .finished(let value): return value
        case .signaled(let number): throw SilentExit(status: .signal(number))
        }
    }

    enum Ending<Value: Sendable>: Sendable {
        case finished(Value)
        case signaled(CInt)
    }

    /// Runs `operation` until it ends or a signal cancels it. What it says of having been canceled is of no interest.
    static func ending<Value: Sendable>(of operation: @escaping @Sendable @concurrent () async throws -> Value)
        async throws
        -> Ending<Value>
    {
        let (numbers, continuation) = AsyncStream.makeStream(of: CInt.self)
        let signals = CaughtSignals(Self.numbers) { continuation.yield($0) }
        defer { withExtendedLifetime(signals) {} }
        return try await withThrowingTaskGroup(of: Ending<Value>.self) { group in
            group.addTask { .finished(try await operation()) }
            group.addTask {
                for await number in numbers { return .signaled(number) }
                throw CancellationError()
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            if case .signaled = first {
                group.cancelAll()
                while let _ = await group.nextResult() {}
            }
            return first
        }
    }
}
