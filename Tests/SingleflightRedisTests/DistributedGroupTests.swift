import PrivateRedis
import SingleflightRedis
import Testing

private struct OperationFailed: Error, CustomStringConvertible {
    var description: String { "the operation failed" }
}

@Suite("A distributed group on a real Redis", .timeLimit(.minutes(1)))
struct DistributedGroupTests {
    private static let configuration = DistributedGroupConfiguration(leaseDuration: .milliseconds(1500))

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
                #expect(second.waited < .milliseconds(1000))
            }
        }
    }

    @Test("the leader's error reaches the other process once, and the next flight starts afresh")
    func sharesError() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                let here = try DistributedGroup<String, String>("pages", store: one, configuration: Self.configuration)
                let there = try DistributedGroup<String, String>("pages", store: two, configuration: Self.configuration)
                let gate = Gate()
                async let led = here.run("front") { _ in
                    await gate.wait()
                    throw OperationFailed()
                }
                await gate.untilArrived()
                async let followed = there.run("front") { _ in "computed there" }
                try await one.untilWaiters(1, group: "pages", key: "front")
                gate.open()

                guard case .complete(let first) = await led, case .complete(let second) = await followed else {
                    Issue.record("no result")
                    return
                }
                #expect(throws: OperationFailed.self) { try first.result.get() }
                let failure = #expect(throws: RemoteFailure.self) { try second.result.get() }
                #expect(failure?.message == "the operation failed")
                #expect(failure?.leader == "one")
                #expect(try await there.value("front") { _ in "afresh" } == "afresh")
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
