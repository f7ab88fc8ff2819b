import NIOCore

/// A request on its way through a cluster: what to send, and how it has fared so far.
struct ClusterRequest: Sendable {
    enum Payload: Sendable {
        case command(RedisCommand)
        case script(RedisScript, keys: [RedisArgument], arguments: [RedisArgument])
    }

    let payload: Payload
    let purpose: ConnectionEvent.Purpose
    let order: RedisOrder
    let deadline: NIODeadline
    /// Which was submitted first.
    let sequence: UInt64
    let completion: RedisClient.Kept
    var redirects = RedirectMachine()
    /// What a node answered to the last sending; it was not carried out.
    var lastError: RedisClientError?

    func complete(_ result: Result<RESPValue, RedisClientError>) {
        completion.completion(result)
    }

    /// Sends it to a node.
    ///
    /// - Parameter isAsking: whether the node does not serve the slot yet.
    func send(
        to node: RedisClient,
        isAsking: Bool,
        now: NIODeadline,
        completion: @escaping RedisClient.Completion
    ) {
        let rest = Duration(max(deadline - now, .zero))
        switch (payload, isAsking) {
        case (.command(let command), false):
            node.send(command, timeout: rest, order: order, completion: completion)
        case (.command(let command), true):
            node.sendAsking(command, timeout: rest, order: order, completion: completion)
        case (.script(let script, let keys, let arguments), false):
            node.evaluate(
                script,
                keys: keys,
                arguments: arguments,
                timeout: rest,
                order: order,
                completion: completion
            )
        case (.script(let script, let keys, let arguments), true):
            node.evaluateAsking(
                script,
                keys: keys,
                arguments: arguments,
                timeout: rest,
                order: order,
                completion: completion
            )
        }
    }

    /// Whether a failure says nothing of the request: it never reached a server, and another node may take it.
    static func isUnsent(_ error: RedisClientError) -> Bool {
        error.code != .server && error.code != .overloaded && !error.mayHaveExecuted
    }
}
