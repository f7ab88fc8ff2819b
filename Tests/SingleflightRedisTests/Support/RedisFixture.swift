import PrivateRedis
import SingleflightRedis

/// Two processes' stores on one Redis. They have all the time that a busy machine may need, unless time is the subject.
func withTwoStores<Result: Sendable>(
    _ redis: PrivateRedis,
    commandTimeout: Duration = .seconds(10),
    _ body: (RedisLeaseStore, RedisLeaseStore) async throws -> Result
) async throws -> Result {
    try await withTwoStores(redis.url, commandTimeout: commandTimeout, body)
}

/// The same, of a user whom the URL names.
func withTwoStores<Result: Sendable>(
    _ url: String,
    commandTimeout: Duration = .seconds(10),
    _ body: (RedisLeaseStore, RedisLeaseStore) async throws -> Result
) async throws -> Result {
    func configuration(_ label: String) -> RedisLeaseStoreConfiguration {
        .init(namespace: "test", label: label, commandTimeout: commandTimeout)
    }
    return try await RedisLeaseStore.withConnection(to: url, configuration: configuration("one")) { one in
        try await RedisLeaseStore.withConnection(to: url, configuration: configuration("two")) { two in
            try await body(one, two)
        }
    }
}
