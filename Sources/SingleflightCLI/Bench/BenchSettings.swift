package import SingleflightRedis

/// Settings that all processes of a benchmark share.
package struct BenchSettings: Sendable {
    package let commandTimeout: Duration
    package let lease: Duration

    /// For everything that no lease is to run out in, however slow the machine is.
    package static let steady = BenchSettings(commandTimeout: .seconds(10), lease: .seconds(30))
    /// For what is about the end of a lease.
    package static let short = BenchSettings(commandTimeout: .seconds(1), lease: .seconds(3))

    package var store: RedisLeaseStoreConfiguration { .init(commandTimeout: commandTimeout) }

    package var group: DistributedGroupConfiguration {
        DistributedGroupConfiguration(
            lease: .init(duration: lease, leaderLoss: .takeOver(attempts: 2)),
            unavailable: .fail
        )
    }
}
