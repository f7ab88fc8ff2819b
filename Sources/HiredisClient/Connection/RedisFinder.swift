package import NIOCore

/// Finds the server that a connection is to be made to, anew for each attempt.
///
/// Every connection of a client, and of those that share its finder, asks it: for commands, for the subscription and
/// for long results.
package protocol RedisFinder: AnyObject, Sendable {
    /// Where the server is now. Completes on `eventLoop`, and in bounded time; fails with a ``RedisClientError``.
    func find(on eventLoop: any EventLoop) -> EventLoopFuture<RedisPlace>
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

extension RedisTarget {
    /// What finds the server for each connection; of a cluster the first seed.
    package func makeFinder() -> any RedisFinder {
        switch deployment {
        case .server(let address): FixedFinder(place(at: address))
        case .cluster(let seeds): FixedFinder(place(at: seeds.first ?? .unixSocket(path: "")))
        case .sentinel: NoFinder()
        }
    }
}

private final class NoFinder: RedisFinder {
    func find(on eventLoop: any EventLoop) -> EventLoopFuture<RedisPlace> {
        eventLoop.makeFailedFuture(RedisClientError(.misconfigured, "sentinels cannot be asked yet"))
    }
}

extension RedisClientError {
    /// Why it is not known where to connect to, or as whom.
    static func finding(_ target: RedisTarget, failedWith error: any Error) -> RedisClientError {
        if let error = error as? RedisClientError { return error }
        return RedisClientError(.connectionFailed, "cannot connect to \(target): \(error)", underlying: error)
    }
}
