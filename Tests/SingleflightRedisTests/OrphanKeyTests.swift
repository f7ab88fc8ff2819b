import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// Whatever flights go through, they leave only keys of their own in Redis, and none for good.
@Suite("The keys in Redis", .usesServer, .timeLimit(.minutes(4)))
struct OrphanKeyTests {
    private struct OperationFailed: Error {}

    /// A call of a random kind. How it ends does not matter here.
    private static func call(
        _ group: DistributedGroup<String, String>,
        _ store: RedisLeaseStore,
        seed: UInt64
    ) async throws {
        var random = FlightRandom.seeded(seed)
        let key = "key {\(Int.random(in: 0..<6, using: &random))} %"
        let kind = Int.random(in: 0..<6, using: &random)
        let limit: Duration? = kind == 0 ? .milliseconds(1) : nil
        let task = Task {
            await group.run(key, waitingAtMost: limit) { flight in
                if kind == 1 { throw OperationFailed() }
                if kind == 2 { _ = try await flight.fence() }
                for _ in 0..<(kind * 20) { await Task.yield() }
                return key
            }
        }
        if kind == 3 { task.cancel() }
        if kind == 4 {
            let flightKey = try FlightKey(group: group.name, bytes: Array(key.utf8))
            let request = RevokeRequest(key: flightKey, token: nil, by: "ops", reason: "")
            _ = await store.answer(to: request)
        }
        _ = await task.value
    }

    @Test("all carry the protocol's prefix and have a time to live after any mixture of flights")
    func noneForGood() async throws {
        try await PrivateRedis.with { redis in
            let first = UInt64.random(in: 0..<1 << 32)
            try await withTwoStores(redis, commandTimeout: .seconds(10)) { one, two in
                let groups = try [one, two].flatMap { store in
                    try [LeaderLossPolicy.cancel, .takeOver(attempts: 1)].map { policy in
                        let configuration = DistributedGroupConfiguration(
                            lease: .init(duration: .seconds(60), leaderLoss: policy),
                            results: .init(reuse: policy == .cancel ? .zero : .seconds(30))
                        )
                        let name = policy == .cancel ? "cancel" : "reuse"
                        let group = try DistributedGroup<String, String>(
                            name,
                            store: store,
                            configuration: configuration
                        )
                        return (group, store)
                    }
                }
                try await withThrowingTaskGroup(of: Void.self) { tasks in
                    for index in 0..<400 {
                        if index >= 40 { try await tasks.next() }
                        let (group, store) = groups[index % groups.count]
                        tasks.addTask { try await Self.call(group, store, seed: first + UInt64(index)) }
                    }
                    try await tasks.waitForAll()
                }
                // A flight that is under way, with a waiter: so that there are keys of every kind.
                let gate = Gate()
                let group = groups[0].0
                let leader = Task {
                    await group.run("under way") { _ in
                        await gate.wait(); return ""
                    }
                }
                await gate.untilArrived()
                let other = groups[2].0
                let follower = Task { await other.run("under way") { _ in "" } }
                try await one.untilWaiters(1, group: group.name, key: "under way")
                try await Self.check(redis, seed: first)
                gate.open()
                _ = (await leader.value, await follower.value)
            }
        }
    }

    private static func check(_ redis: PrivateRedis, seed: UInt64) async throws {
        // An array of bulk strings: a length and a name each. No name holds a line break.
        let lines = try await redis.command("KEYS", "*").split(separator: "\r\n").map { String($0) }
        let names = stride(from: 2, to: lines.count, by: 2).map { lines[$0] }
        for kind in ["lease", "wait", "done", "last", "fence"] {
            #expect(names.contains { $0.contains("}:\(kind)") }, "seed \(seed): no key of the kind \(kind)")
        }
        for name in names {
            #expect(name.hasPrefix("sf2:"), "seed \(seed)")
            #expect(try await redis.command("PTTL", name) != ":-1\r\n", "seed \(seed): \(name) has no time to live")
        }
    }
}
