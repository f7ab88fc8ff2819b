import Logging
package import NIOCore

/// Finds the server that a connection is to be made to, anew for each attempt.
///
/// Every connection of a client, and of those that share its finder, asks it: for commands, for the subscription and
/// for long results.
package protocol RedisFinder: AnyObject, Sendable {
    /// Where the server is now. Completes on `eventLoop`, and in bounded time; fails with a ``RedisClientError``.
    func find(on eventLoop: any EventLoop) -> EventLoopFuture<RedisPlace>
    /// A connection to what was found was not made, or was lost.
    func failed(_ place: RedisPlace, _ reason: RedisClientError)
    /// Calls `handler`, on any thread, when the server is known to be elsewhere from now on: a connection that leads
    /// to another address is of no use any more. Until ``forget(_:)``.
    func watch(_ handler: @escaping @Sendable (RedisAddress) -> Void) -> UInt64
    func forget(_ watcher: UInt64)
    /// Finds nothing any more. Idempotent and terminal; for the owner alone.
    func shutDown() async
}

extension RedisFinder {
    package func failed(_ place: RedisPlace, _ reason: RedisClientError) {}
    package func watch(_ handler: @escaping @Sendable (RedisAddress) -> Void) -> UInt64 { 0 }
    package func forget(_ watcher: UInt64) {}
    package func shutDown() async {}
}

/// Always the same server.
package final class FixedFinder: RedisFinder {
    private let place: RedisPlace

    package init(_ place: RedisPlace) {
        self.place = place
    }

    package func find(on eventLoop: any EventLoop) -> EventLoopFuture<RedisPlace> {
        eventLoop.makeSucceededFuture(place)
    }
}

extension RedisClientConfiguration {
    /// What finds the server for each connection; of a cluster the seeds in turn.
    func makeFinder(on eventLoop: any EventLoop, end: EventLoopEnd, logger: Logger) -> any RedisFinder {
        switch target.deployment {
        case .server(let address):
            FixedFinder(target.place(at: address))
        case .cluster(let seeds):
            SeedFinder(seeds.map { target.place(at: $0) })
        case .sentinel(let sentinels):
            SentinelFinder(sentinels, self, eventLoop: eventLoop, end: end, logger: logger)
        }
    }
}

extension RedisClientError {
    /// Why it is not known where to connect to, or as whom.
    static func finding(_ target: RedisTarget, failedWith error: any Error) -> RedisClientError {
        if let error = error as? RedisClientError { return error }
        return RedisClientError(.connectionFailed, "cannot connect to \(target): \(error)", underlying: error)
    }
}
