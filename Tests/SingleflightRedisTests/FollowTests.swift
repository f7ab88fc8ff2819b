import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("Following on a real Redis", .usesServer, .timeLimit(.minutes(4)))
struct FollowTests {
    private static let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)))

    @Test("a follower gets the value of the flight in another process by push, and leads nothing where there is none")
    func follows() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                let here = try DistributedGroup<String, String>("pages", store: one, configuration: Self.configuration)
                let there = try DistributedGroup<String, String>("pages", store: two, configuration: Self.configuration)
                guard case .canceled(.noFlight) = await there.follow("front") else {
                    Issue.record("a flight that nobody began")
                    return
                }
                #expect(try await redis.command("DBSIZE") == ":0\r\n")
                let gate = Gate()
                async let led = here.run("front") { _ in
                    await gate.wait()
                    return "computed here"
                }
                await gate.untilArrived()
                async let followed = there.follow("front")
                try await one.untilWaiters(1, group: "pages", key: "front")
                gate.open()
                guard case .complete(let first) = await led, case .complete(let second) = await followed else {
                    Issue.record("no result")
                    return
                }
                #expect(try second.result.get() == "computed here")
                #expect(second.role == .follower)
                #expect(first.isShared)
                #expect(second.token == first.token)
                // By push, not by the poll at the lease's end.
                #expect(second.waited < .seconds(30))
            }
        }
    }
}
