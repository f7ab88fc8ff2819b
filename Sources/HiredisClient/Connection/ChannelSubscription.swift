package import Logging
package import NIOCore

/// A connection that is subscribed to exactly one channel, and kept so until shut down.
///
/// Between `disconnected` and the next `subscribed`, messages are lost. A user who needs them has to ask elsewhere for
/// what was missed, on every `subscribed`.
///
/// Must be shut down; until then the subscription keeps itself alive.
package final class ChannelSubscription: Sendable {
    package enum Event: Sendable {
        /// The server acknowledged the subscription: the first, or one after a reconnect.
        case subscribed
        case message([UInt8])
        /// The subscription was lost; a reconnect is on its way.
        case disconnected(RedisClientError)
    }

    /// Runs on the event loop, one event at a time, in order. No event follows ``shutdown()``.
    package typealias Handler = @Sendable (Event) -> Void

    package let channel: String
    private let connection: KeptConnection
    private let handler: Handler

    package init(
        channel: String,
        configuration: RedisClientConfiguration,
        eventLoop: any EventLoop,
        end: EventLoopEnd,
        logger: Logger,
        handler: @escaping Handler
    ) {
        self.channel = channel
        self.handler = handler
        connection = KeptConnection(
            configuration: configuration,
            channel: channel,
            eventLoop: eventLoop,
            end: end,
            logger: logger
        )
    }

    /// Starts to connect. Idempotent; without effect after ``shutdown()``.
    package func start() {
        connection.start(self)
    }

    /// Gives the connection up, and makes another. That its server is of no use any more is learned on another
    /// connection: on a subscribed one the server does not say so. On the event loop only.
    func reconnect(_ reason: RedisClientError) {
        connection.keeper.value.drop(reason)
    }

    /// Closes the connection and returns when it is closed. Idempotent and terminal.
    package func shutdown() async {
        await connection.shutDown()
    }

    /// Returns when the subscription is acknowledged; throws as ``RedisClient/connected(within:)`` does.
    package func subscribed(within limit: Duration) async throws {
        try await connection.connected(within: limit)
    }
}

extension ChannelSubscription: ConnectionKeeperDelegate {
    func keeperConnected(_ keeper: ConnectionKeeper) {
        handler(.subscribed)
    }

    func keeperBecameWritable(_ keeper: ConnectionKeeper) {}

    func keeper(_ keeper: ConnectionKeeper, received message: [UInt8]) {
        handler(.message(message))
    }

    func keeper(_ keeper: ConnectionKeeper, heard push: ShardPush) {}

    func keeper(_ keeper: ConnectionKeeper, failed reason: RedisClientError, wasConnected: Bool) {
        if wasConnected {
            handler(.disconnected(reason))
        }
    }
}
