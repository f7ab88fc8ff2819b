package import NIOCore

/// Whatever takes commands for a Redis: one server, or a cluster.
///
/// Every command is answered exactly once: with a server's reply, or with the reason why there is none, at its deadline
/// at the latest. Completions run on ``eventLoop``; of what is refused at once wherever that happens.
package protocol RedisCommanding: AnyObject, Sendable {
    var eventLoop: any EventLoop { get }
    var eventLoopEnd: EventLoopEnd { get }

    /// Starts to connect. Idempotent.
    func start()

    /// Answers everything, closes all connections and returns when they are closed. Idempotent and terminal.
    func shutdown() async

    /// Returns when there is a connection that can be used.
    ///
    /// - Throws: why there is none after `limit`, or at once if the server refuses the credentials; `CancellationError`
    ///   if the task is canceled.
    func connected(within limit: Duration) async throws

    /// Sends a command; `completion` is called exactly once.
    ///
    /// - Parameters:
    ///   - timeout: until when the answer is of use; the configuration's if `nil`.
    ///   - order: what it must not be carried out before, and where it belongs on a cluster.
    func send(
        _ command: RedisCommand,
        timeout: Duration?,
        order: RedisOrder,
        completion: @escaping RedisClient.Completion
    )

    /// Evaluates a script by its hash, and by its source if the server does not have it; the deadline covers both.
    func evaluate(
        _ script: RedisScript,
        keys: [RedisArgument],
        arguments: [RedisArgument],
        timeout: Duration?,
        order: RedisOrder,
        completion: @escaping RedisClient.Completion
    )
}

extension RedisClient: RedisCommanding {}
