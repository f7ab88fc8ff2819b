import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("A distributed group on a real Redis", .usesServer, .timeLimit(.minutes(4)))
struct DistributedGroupTests {
    private static let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)))

    @Test("of two processes one computes, and the other gets its value by push")
    func sharesValue() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                let here = try DistributedGroup<String, String>("pages", store: one, configuration: Self.configuration)
                let there = try DistributedGroup<String, String>("pages", store: two, configuration: Self.configuration)
                let gate = Gate()
                async let led = here.run("front") { _ in
                    await gate.wait()
                    return "computed here"
                }
                await gate.untilArrived()
                async let followed = there.run("front") { _ in "computed there" }
                try await one.untilWaiters(1, group: "pages", key: "front")
                gate.open()

                guard case .complete(let first) = await led, case .complete(let second) = await followed else {
                    Issue.record("no result")
                    return
                }
                #expect(try first.result.get() == "computed here")
                #expect(try second.result.get() == "computed here")
                #expect(first.role == .leader)
                #expect(second.role == .follower)
                #expect(first.isShared && second.isShared)
                #expect(second.source == .remote)
                #expect(second.leader == "one")
                #expect(first.token == second.token)
                #expect(first.coordination == .coordinated)
                // By push, not by the poll at the lease's end.
                #expect(second.waited < .seconds(30))
            }
        }
    }

    @Test("a flight that nobody shares leaves nothing behind in Redis")
    func leavesNothingBehind() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, _ in
                let group = try DistributedGroup<String, String>("pages", store: one, configuration: Self.configuration)
                #expect(try await group.value("front") { _ in "value" } == "value")
                #expect(try await redis.command("DBSIZE") == ":0\r\n")
            }
        }
    }
}
