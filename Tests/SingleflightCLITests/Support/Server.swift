import PrivateRedis

/// A redis-server of the test's own, stopped afterwards.
func withServer<Result>(
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
