import PrivateRedis
import SingleflightRedis
import Testing

@Suite("Herds and deaf processes on a real Redis", .serialized, .timeLimit(.minutes(2)))
struct RedisHerdTests {
    private static let key = "front"

    private func group(_ store: RedisLeaseStore) throws -> DistributedGroup<String, String> {
        let configuration = DistributedGroupConfiguration(
            leaseDuration: .seconds(3),
            leaderLoss: .takeOver(attempts: 3),
            unavailable: .fail
        )
        return try DistributedGroup("pages", store: store, configuration: configuration)
    }

    /// Stores of so many processes, which live until the body ends.
    private func withStores(
        _ count: Int,
        _ url: String,
        _ stores: [RedisLeaseStore] = [],
        _ body: ([RedisLeaseStore]) async throws -> Void
    ) async throws {
        guard stores.count < count else { return try await body(stores) }
        let configuration = RedisLeaseStoreConfiguration(
            namespace: "test",
            label: "process \(stores.count)",
            commandTimeout: .seconds(1)
        )
        try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
            try await self.withStores(count, url, stores + [store], body)
        }
    }

    @Test("of 50 processes on a dead leader's key one takes over, and all have its value")
    func oneTakeover() async throws {
        try await PrivateRedis.with { redis in
            try await self.withStores(50, redis.url) { stores in
                let flightKey = try FlightKey(group: "pages", bytes: Array(Self.key.utf8))
                let dead = EnterRequest.make(flightKey, lease: .seconds(4), leaderLoss: .takeOver(attempts: 3))
                #expect(try await stores[0].entered(dead) == .lead(attempt: 0))
                let runs = Gate()
                runs.open()
                let completions = try await withThrowingTaskGroup(of: Completion<String>?.self) { tasks in
                    for store in stores {
                        let group = try self.group(store)
                        tasks.addTask {
                            let outcome = await group.run(Self.key) { _ in
                                await runs.wait()
                                return "taken over"
                            }
                            if case .complete(let completion) = outcome { return completion }
                            return nil
                        }
                    }
                    var completions: [Completion<String>] = []
                    for try await completion in tasks {
                        if let completion { completions.append(completion) }
                    }
                    return completions
                }
                #expect(completions.count == 50)
                #expect(runs.arrivals == 1)
                #expect(completions.count { $0.role == .leader } == 1)
                for completion in completions {
                    #expect(try completion.result.get() == "taken over")
                    // Whoever came only after the takeover has not heard of the first leader.
                    #expect(completion.attempts == 2 || completion.role == .follower && completion.attempts == 1)
                }
            }
        }
    }

    @Test("a process that never hears an announcement has the result when the lease should have ended")
    func deaf() async throws {
        // The user may use no channel at all: whatever the scripts publish is lost, and no inbox is ever subscribed to.
        let users = ["deaf on >secret ~* +@all resetchannels"]
        try await PrivateRedis.with(.init(users: users)) { redis in
            let url = redis.url.replacing("redis+unix://", with: "redis+unix://deaf:secret@")
            try await self.withStores(2, url) { stores in
                let (here, there) = (try self.group(stores[0]), try self.group(stores[1]))
                let gate = Gate()
                async let led = here.run(Self.key) { _ in
                    await gate.wait()
                    return "unheard"
                }
                await gate.untilArrived()
                async let followed = there.run(Self.key) { _ in "not run" }
                try await stores[0].untilWaiters(1, group: "pages", key: Self.key)
                gate.open()
                guard case .complete(let first) = await led, case .complete(let second) = await followed else {
                    Issue.record("no result")
                    return
                }
                #expect(try first.result.get() == "unheard")
                #expect(try second.result.get() == "unheard")
                #expect(second.role == .follower)
            }
        }
    }

    @Test(
        "a leader whose callers all left is canceled: at once if nobody waits elsewhere, else when the last one leaves"
    )
    func abandoned() async throws {
        try await PrivateRedis.with { redis in
            try await self.withStores(2, redis.url) { stores in
                try await stores[0].untilSubscribed()
                try await stores[1].untilSubscribed()
                let (here, there) = (try self.group(stores[0]), try self.group(stores[1]))
                let (started, canceled) = (Gate(), Gate())
                started.open()
                let operation: @Sendable (Flight<String>) async throws -> String = { _ in
                    await started.wait()
                    try await withTaskCancellationHandler {
                        try await Task.sleep(for: .seconds(600))
                    } onCancel: {
                        canceled.open()
                    }
                    return "never"
                }
                let leader = Task { await here.run(Self.key, operation: operation) }
                await started.untilArrived()
                let follower = Task { await there.run(Self.key) { _ in "not run" } }
                try await stores[0].untilWaiters(1, group: "pages", key: Self.key)
                leader.cancel()
                guard case .canceled(.callerCanceled) = await leader.value else {
                    Issue.record("not canceled")
                    return
                }
                follower.cancel()
                await canceled.wait()
                guard case .canceled(.callerCanceled) = await follower.value else {
                    Issue.record("not canceled")
                    return
                }
                let next = try await there.value(Self.key) { _ in "free" }
                #expect(next == "free")
            }
        }
    }
}
