/// How the servers that keep the leases are arranged, and where to begin.
public enum RedisDeployment: Sendable {
    /// One server, at a fixed address.
    case server(RedisAddress)
    /// A primary with replicas, which sentinels know.
    case sentinel(SentinelDeployment)
    /// A cluster; some of its nodes suffice.
    case cluster(seeds: [RedisAddress])
}

/// Sentinels, and the name under which they know the primary.
public struct SentinelDeployment: Sendable {
    /// Where the sentinels listen; as many as are known. They are asked in turn.
    public var sentinels: [RedisAddress]
    /// The primary's name, as `sentinel monitor` in the sentinels' configuration has it.
    public var primary: String
    /// How to log in to the sentinels; `nil` for not at all. Those of the servers are not tried here.
    public var credentials: RedisCredentials?
    /// How connections to the sentinels are encrypted; `nil` for not at all.
    public var tls: RedisTLS?

    /// Describes sentinels that know a primary as `primary`.
    public init(
        sentinels: [RedisAddress],
        primary: String,
        credentials: RedisCredentials? = nil,
        tls: RedisTLS? = nil
    ) {
        self.sentinels = sentinels
        self.primary = primary
        self.credentials = credentials
        self.tls = tls
    }
}
