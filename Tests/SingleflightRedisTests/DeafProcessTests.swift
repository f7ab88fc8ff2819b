import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("Deaf processes on a real Redis", .usesServer, .timeLimit(.minutes(4)))
struct DeafProcessTests {
    private func group(_ store: RedisLeaseStore) throws -> DistributedGroup<String, String> {
        let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(9)), unavailable: .fail)
        return try DistributedGroup("pages", store: store, configuration: configuration)
    }

    @Test("a process that never hears an announcement has the result when the lease should have ended")
    func deaf() async throws {
        // The user may use no channel at all: whatever the scripts publish is lost, and no inbox is ever subscribed to.
        let users = ["deaf on >secret ~* +@all resetchannels"]
        try await PrivateRedis.with(.init(users: users)) { redis in
            let url = redis.url.replacing("redis+unix://", with: "redis+unix://deaf:secret@")
            try await withTwoStores(url, commandTimeout: .seconds(3)) { one, two in
                let (here, there) = (try self.group(one), try self.group(two))
                let gate = Gate()
                async let led = here.run("front") { _ in
                    await gate.wait()
                    return "unheard"
                }
                await gate.untilArrived()
                async let followed = there.run("front") { _ in "not run" }
                try await one.untilWaiters(1, group: "pages", key: "front")
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
}
