import PrivateRedis
import SingleflightRedis

/// Two processes' stores on one Redis.
func withTwoStores<Result: Sendable>(
    _ redis: PrivateRedis,
    commandTimeout: Duration = .milliseconds(500),
    _ body: (RedisLeaseStore, RedisLeaseStore) async throws -> Result
) async throws -> Result {
    func configuration(_ label: String) -> RedisLeaseStoreConfiguration {
        .init(namespace: "test", label: label, commandTimeout: commandTimeout)
    }
    return try await RedisLeaseStore.withConnection(to: redis.url, configuration: configuration("one")) { one in
        try await RedisLeaseStore.withConnection(to: redis.url, configuration: configuration("two")) { two in
            try await body(one, two)
        }
    }
}
