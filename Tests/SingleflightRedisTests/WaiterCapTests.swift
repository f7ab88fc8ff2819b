import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("A flight with as many waiters as can be registered", .usesServer, .timeLimit(.minutes(4)))
struct WaiterCapTests {
    private struct Stage {
        let here: DistributedGroup<String, String>
        let there: DistributedGroup<String, String>
        let gate = Gate()
        let key: FlightKey

        init(_ one: RedisLeaseStore, _ two: RedisLeaseStore) throws {
            let configuration = DistributedGroupConfiguration(
                lease: .init(duration: .seconds(9)),
                unavailable: .fail
            )
            self.here = try DistributedGroup("pages", store: one, configuration: configuration)
            self.there = try DistributedGroup("pages", store: two, configuration: configuration)
            self.key = try FlightKey(group: "pages", bytes: Array("front".utf8))
        }

        /// Puts 4096 waiters of whom nobody ever hears at the same name that the lease has. The name.
        func fill(_ redis: PrivateRedis) async throws -> String {
            let names = try await redis.command("KEYS", "sf2:*:lease:*").split(separator: "\r\n")
            let wait = String(try #require(names.last)).replacing(":lease:", with: ":wait:")
            let fill = "for i = 1, 4096 do redis.call('HSET', KEYS[1], string.format('%032x', i), '') end"
            try await redis.command("EVAL", fill + " redis.call('PEXPIRE', KEYS[1], 60000)", "1", wait)
            return wait
        }
    }

    @Test("one process more is not registered, hears nothing, and has the value by polling")
    func beyondTheCap() async throws {
        // The user may use no channel: nobody can tell whether those that are registered still live.
        let users = ["deaf on >secret ~* +@all resetchannels"]
        try await PrivateRedis.with(.init(users: users)) { redis in
            let url = redis.url.replacing("redis+unix://", with: "redis+unix://deaf:secret@")
            try await withTwoStores(url, commandTimeout: .seconds(3)) { one, two in
                let stage = try Stage(one, two)
                async let led = stage.here.value("front") { _ in
                    await stage.gate.wait()
                    return "value"
                }
                await stage.gate.untilArrived()
                let wait = try await stage.fill(redis)
                let before = try await Self.evaluations(redis)
                async let followed = stage.there.value("front") { _ in "another" }
                // A follower that is not registered shows in nothing but its script, and nobody else sends one now.
                try await until("the follower's script") { try await Self.evaluations(redis) > before }
                try await until("a look for those that have died") {
                    try await redis.command("INFO", "commandstats").contains("cmdstat_hrandfield")
                }
                #expect(try await one.inspected(stage.key).waiters.count == 4096)
                #expect(try await redis.command("HEXISTS", wait, two.inbox.description) == ":0\r\n")
                stage.gate.open()
                let values = try await [led, followed]
                #expect(values == ["value", "value"])
            }
        }
    }

    @Test("processes that have died make room for one that lives")
    func deadMakeRoom() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(3)) { one, two in
                try await two.untilSubscribed()
                let stage = try Stage(one, two)
                async let led = stage.here.value("front") { _ in
                    await stage.gate.wait()
                    return "value"
                }
                await stage.gate.untilArrived()
                let wait = try await stage.fill(redis)
                async let followed = stage.there.value("front") { _ in "another" }
                try await until("the follower's registration") {
                    try await redis.command("HEXISTS", wait, two.inbox.description) == ":1\r\n"
                }
                #expect(try await one.inspected(stage.key).waiters.count <= 4096)
                stage.gate.open()
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
