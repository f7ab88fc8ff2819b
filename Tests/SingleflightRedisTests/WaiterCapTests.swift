import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("A flight with as many waiters as can be registered", .usesServer, .timeLimit(.minutes(1)))
struct WaiterCapTests {
    @Test("one process more is not registered, hears nothing, and has the value by polling")
    func beyondTheCap() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(3)) { one, two in
                let configuration = DistributedGroupConfiguration(
                    lease: .init(duration: .seconds(9)),
                    unavailable: .fail
                )
                let here = try DistributedGroup<String, String>("pages", store: one, configuration: configuration)
                let there = try DistributedGroup<String, String>("pages", store: two, configuration: configuration)
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                let gate = Gate()
                async let led = here.value("front") { _ in
                    await gate.wait()
                    return "value"
                }
                await gate.untilArrived()
                // Waiters of whom nobody ever hears, at the same name that the lease has.
                let names = try await redis.command("KEYS", "sf1:*:lease:*").split(separator: "\r\n")
                let wait = String(try #require(names.last)).replacing(":lease:", with: ":wait:")
                let fill = "for i = 1, 4096 do redis.call('SADD', KEYS[1], string.format('%032x', i)) end"
                try await redis.command("EVAL", fill + " redis.call('PEXPIRE', KEYS[1], 60000)", "1", wait)
                let before = try await Self.evaluations(redis)
                async let followed = there.value("front") { _ in "another" }
                // A follower that is not registered shows in nothing but its script, and nobody else sends one now.
                try await until("the follower's script") { try await Self.evaluations(redis) > before }
                #expect(try await one.inspected(key).waiters.count == 4096)
                #expect(try await redis.command("SISMEMBER", wait, two.inbox.description) == ":0\r\n")
                gate.open()
                let values = try await [led, followed]
                #expect(values == ["value", "value"])
            }
        }
    }

    /// How many scripts the server has carried out by their hash.
    private static func evaluations(_ redis: PrivateRedis) async throws -> Int {
        let statistics = try await redis.command("INFO", "commandstats")
        let calls = statistics.firstMatch(of: /cmdstat_evalsha:calls=([0-9]+)/)?.output.1
        return calls.flatMap { Int($0) } ?? 0
    }
}
