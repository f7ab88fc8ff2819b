/// How a client connects and what it puts up with.
package struct RedisClientConfiguration: Sendable {
    /// What to connect to, and as whom.
    package var target: RedisTarget
    /// Finds the server for each connection, and is its maker's to shut down; `nil` for what fits the target.
    package var finder: (any RedisFinder)?
    /// What `CLIENT LIST` shows for the connections; `nil` for nothing. Redis allows printable ASCII without spaces.
    package var clientName: String?
    /// Refuse a server that is not a primary.
    package var requiresPrimary = true
    /// What the server is to know before anything else is sent on a connection for commands.
    package var scripts: [RedisScript] = []
    /// Whether scripts are sent without their `#!lua` line from the start, as to a server before 7.0.
    package var usesLegacyScripts = false

    /// Whether to find out, before anything is sent, if the server is a node of a cluster. It is not used then:
    /// ``RedisClientError/Code/cluster``.
    package var findsClusters = false
    /// Hears what comes to the shard channels that the connection was subscribed to by SSUBSCRIBE, on the event loop.
    /// Set for a connection that is for these.
    package var onShardPush: (@Sendable (ShardPush) -> Void)?

    /// What its connection for commands is for.
    package var purpose = ConnectionEvent.Purpose.commands

    /// How long a command may take if it does not say so itself; waiting for a connection included. Also how long
    /// nothing may move, in either direction, while something is to be answered: past that the connection is given up.
    package var commandTimeout = Duration.seconds(1)
    /// How long name resolution and connecting may take together.
    package var connectTimeout = Duration.seconds(2)
    /// How long the server may take to answer the commands that open a connection.
    package var handshakeTimeout = Duration.seconds(2)
    /// How long nothing may be heard on a connection before it is sent a `PING`.
    package var pingInterval = Duration.seconds(5)
    /// How long nothing may be heard after a `PING` before the connection is given up.
    package var pingTimeout = Duration.seconds(3)

    /// How long after their last answers sentinels are asked again, give or take a tenth.
    package var sentinelInterval = Duration.seconds(10)

    package var backoff = Backoff()
    package var limits = RESPLimits()
    /// Most commands that wait to be sent; one more is refused as `overloaded`.
    package var maximumQueuedCommands = 65_536
    /// Most bytes that wait to be sent. A single command may be larger if nothing else waits.
    package var maximumQueuedBytes = 64 << 20

    /// A number in `0..<1`, evenly distributed: what spreads the reconnects of many processes.
    package var random: @Sendable () -> Double = { Double.random(in: 0..<1) }

    /// Hears what becomes of the connections, on the event loop.
    package var onConnectionEvent: (@Sendable (ConnectionEvent) -> Void)?

    package init(_ target: RedisTarget) {
        self.target = target
    }

    package init(url: RedisURL) {
        self.init(RedisTarget(url))
    }
}
