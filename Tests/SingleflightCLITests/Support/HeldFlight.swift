import PrivateRedis
import SingleflightRedis

/// A private Redis with a store on it that publishes events, as a worker has it.
func withWorker<Result: Sendable>(
    _ body: (PrivateRedis, RedisLeaseStore) async throws -> Result
) async throws -> Result {
    let configuration = RedisLeaseStoreConfiguration(label: "worker-1", publishesEvents: true)
    return try await PrivateRedis.with { redis in
        try await RedisLeaseStore.withConnection(to: redis.url, configuration: configuration) { store in
            try await body(redis, store)
        }
    }
}

/// A flight that is led in this process until it is ended.
struct HeldFlight: Sendable {
    private let end: AsyncStream<Void>.Continuation
    private let caller: Task<Void, Never>

    /// Returns when the operation runs.
    init(_ store: RedisLeaseStore, key: String, result: String = "result") async throws {
        let configuration = DistributedGroupConfiguration(results: .init(reuse: .seconds(60)))
        let group = try DistributedGroup<String, String>("pages", store: store, configuration: configuration)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        let (started, start) = AsyncStream.makeStream(of: Void.self)
        self.end = end
        caller = Task {
            _ = await group.run(key) { _ in
                start.finish()
                for await _ in ended {}
                return result
            }
        }
        for await _ in started {}
    }

    /// Completes the flight, and returns when that is done.
    func complete() async {
        end.finish()
        await caller.value
    }
}
