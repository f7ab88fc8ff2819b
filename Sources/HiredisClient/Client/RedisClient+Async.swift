extension RedisCommanding {
    /// Sends a command and waits for its answer, which comes by the deadline: cancelling the task does not shorten it,
    /// because the command may be on its way.
    package func send(
        _ command: RedisCommand,
        timeout: Duration? = nil,
        order: RedisOrder = .none
    ) async throws(RedisClientError) -> RESPValue {
        try await withAnswer { send(command, timeout: timeout, order: order, completion: $0) }
    }

    /// Evaluates a script and waits for its answer, as ``send(_:timeout:order:)`` does.
    package func evaluate(
        _ script: RedisScript,
        keys: [RedisArgument],
        arguments: [RedisArgument] = [],
        timeout: Duration? = nil,
        order: RedisOrder = .none
    ) async throws(RedisClientError) -> RESPValue {
        try await withAnswer {
            evaluate(script, keys: keys, arguments: arguments, timeout: timeout, order: order, completion: $0)
        }
    }

    private func withAnswer(
        _ submit: (@escaping RedisClient.Completion) -> Void
    ) async throws(RedisClientError) -> RESPValue {
        #if DEBUG
            let result = await withCheckedContinuation { continuation in
                submit { continuation.resume(returning: $0) }
            }
        #else
            // The checked one costs an allocation and a tenth of the time; debug builds have shown that it is not
            // needed.
            let result = await withUnsafeContinuation { continuation in
                submit { continuation.resume(returning: $0) }
            }
        #endif
        return try result.get()
    }
}
