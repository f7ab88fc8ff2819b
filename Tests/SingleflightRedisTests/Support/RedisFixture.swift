import PrivateRedis
import SingleflightRedis

/// A redis-server of the test's own, stopped afterwards.
func withRedis<Result>(
    _ configuration: PrivateRedis.Configuration = .init(),
    _ body: (PrivateRedis) async throws -> Result
) async throws -> Result {
    let redis = try await PrivateRedis.start(configuration)
    do {
        let result = try await body(redis)
        await redis.stop()
        return result
    } catch {
        await redis.stop()
        throw error
    }
}

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
