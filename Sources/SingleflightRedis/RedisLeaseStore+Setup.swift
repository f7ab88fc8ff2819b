public import HiredisClient
public import Logging
public import NIOCore
public import NIOPosix
public import SingleflightLease

/// Where Redis is: as a URL, or as values.
extension RedisLeaseStore {
    /// Sets a store up; nothing is connected before ``run()``.
    ///
    /// - Parameters:
    ///   - url: `redis://[user[:password]@]host[:port][/database]`, `rediss://` likewise, by TLS;
    ///     `redis-sentinel://[user[:password]@]sentinel[:port],…/primary-name[/database]`;
    ///     `redis://host[:port],…?topology=cluster`; or `redis+unix://[user[:password]@]/path[?db=database]`.
    ///     docs/deploy.md has what may stand in the query.
    ///   - configuration: names and limits.
    ///   - eventLoopGroup: where the connections live; the process-wide group unless chosen otherwise.
    ///   - logger: where the life of the connections is told; docs/observability.md says what at which level. Unless
    ///     chosen otherwise, warnings go where swift-log sends them.
    /// - Throws: `LeaseStoreError` of the code `invalidRequest` for a URL or a configuration that cannot be used.
    public convenience init(
        url: String,
        configuration: RedisLeaseStoreConfiguration = .init(),
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = RedisLeaseStore.defaultLogger
    ) throws(LeaseStoreError) {
        try self.init(
            try RedisLeaseStoreConfiguration.target(url: url),
            configuration: configuration,
            eventLoopGroup: eventLoopGroup,
            logger: logger
        )
    }

    /// Sets a store up for servers that are described in code; nothing is connected before ``run()``.
    ///
    /// - Parameters:
    ///   - deployment: where the servers are; those of a cluster, or sentinels that know them.
    ///   - credentials: how to log in to the servers that keep leases; `nil` for not at all. They go to no sentinel:
    ///     `SentinelDeployment` has those of its own.
    ///   - tls: how connections to these servers are encrypted; `nil` for not at all.
    ///   - database: the number of the database; a cluster has 0 only.
    ///   - configuration: names and limits.
    ///   - eventLoopGroup: where the connections live; the process-wide group unless chosen otherwise.
    ///   - logger: where the life of the connections is told.
    /// - Throws: `LeaseStoreError` of the code `invalidRequest` for what cannot be used, such as a deployment without
    ///   addresses.
    public convenience init(
        deployment: RedisDeployment,
        credentials: RedisCredentials? = nil,
        tls: RedisTLS? = nil,
        database: Int = 0,
        configuration: RedisLeaseStoreConfiguration = .init(),
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = RedisLeaseStore.defaultLogger
    ) throws(LeaseStoreError) {
        try self.init(
            RedisTarget(deployment, credentials: credentials, tls: tls, database: database),
            configuration: configuration,
            eventLoopGroup: eventLoopGroup,
            logger: logger
        )
    }
}
