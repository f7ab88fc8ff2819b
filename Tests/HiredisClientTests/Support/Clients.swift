import HiredisClient
import Logging
import PrivateRedis

/// Starts a server, connects a client to it, and ends both.
func withServer(
    _ server: PrivateRedis.Configuration = .init(),
    configure: (inout RedisClientConfiguration) -> Void = { _ in },
    _ body: (PrivateRedis, RedisClient) async throws -> Void
) async throws {
    try await PrivateRedis.with(server) { redis in
        var configuration = RedisClientConfiguration(url: try RedisURL(redis.url))
        configuration.commandTimeout = .seconds(20)
        configure(&configuration)
        try await withClient(configuration) { client in
            try await client.connected(within: .seconds(20))
            try await body(redis, client)
        }
    }
}

/// Starts a client and shuts it down.
func withClient(_ configuration: RedisClientConfiguration, _ body: (RedisClient) async throws -> Void) async throws {
    let client = RedisClient(configuration: configuration, logger: Logger(label: "test"))
    client.start()
    do {
        try await body(client)
    } catch {
        await client.shutdown()
        throw error
    }
    await client.shutdown()
}
