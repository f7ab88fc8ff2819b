package import SingleflightRedis

/// Settings that all processes of a benchmark share.
package enum BenchSettings {
    package static let commandTimeout = Duration.milliseconds(300)
    package static let lease = Duration.seconds(1)

    package static var group: DistributedGroupConfiguration {
        DistributedGroupConfiguration(
            leaseDuration: lease,
            leaderLoss: .takeOver(attempts: 2),
            unavailable: .fail
        )
    }
}
