import PrivateRedis
import SingleflightRedis
import Synchronization
import TestSupport
import Testing

@Suite("Calls for many keys on a real Redis", .usesServer, .timeLimit(.minutes(4)))
struct ManyTests {
    private static let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)))

    /// How many requests the server has carried out, SET or a script each, and in how many pieces it has read them.
    private static func figures(_ redis: PrivateRedis) async throws -> (requests: Int, reads: Int) {
        func figure(_ name: String, in section: String) async throws -> Int {
            let text = try await redis.command("INFO", section)
            let line = try #require(text.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name) })
            return try #require(Int(line.dropFirst(name.count).prefix { $0.isNumber }))
        }
        return (
            try await figure("cmdstat_evalsha:calls=", in: "commandstats")
                + figure("cmdstat_set:calls=", in: "commandstats"),
            try await figure("total_reads_processed:", in: "stats")
        )
    }

    @Test("a thousand keys cost two commands each, and their requests go out together")
    func pipelined() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, _ in
                let group = try DistributedGroup<Int, Int>("numbers", store: one, configuration: Self.configuration)
                // Connected, and the scripts loaded.
                _ = try await group.value(-1) { _ in -1 }
                let before = try await Self.figures(redis)
                let runs = Counter()
                let values = await group.values(0..<1000) { led in
                    runs.increment()
                    return Dictionary(uniqueKeysWithValues: led.keys.map { ($0, 2 * $0) })
                }
                let after = try await Self.figures(redis)
                let expected = Dictionary(uniqueKeysWithValues: (0..<1000).map { ($0, 2 * $0) })
                #expect(try values.mapValues { try $0.get() } == expected)
                #expect(runs.value == 1)
                #expect(after.requests - before.requests == 2000)
                #expect(after.reads - before.reads < 500)
                #expect(try await redis.command("DBSIZE") == ":0\r\n")
            }
        }
    }

    @Test("two processes that ask for the same keys in opposite order both end, and compute each key once")
    func opposite() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                let groups = try [one, two].map {
                    try DistributedGroup<Int, Int>("numbers", store: $0, configuration: Self.configuration)
                }
                let computed = Mutex<[Int]>([])
                // Held until each process knows what it leads, so that none of the flights is over before the other
                // asks.
                let gate = Gate()
                let work: DistributedGroup<Int, Int>.ManyOperation = { led in
                    computed.withLock { $0 += led.keys }
                    await gate.wait()
                    return Dictionary(uniqueKeysWithValues: led.keys.map { ($0, 2 * $0) })
                }
                async let first = groups[0].outcomes(of: Array(0..<200), operation: work)
                async let second = groups[1].outcomes(of: Array((0..<200).reversed()), operation: work)
                try await until("each key is computed by one of the two") {
                    computed.withLock { $0.count } == 200
                        && groups.allSatisfy { $0.inFlight == 200 }
                }
                try await one.untilWaiters(1, group: "numbers", key: "\(computed.withLock { $0 }[0])")
                gate.open()
                for outcomes in await [first, second] {
                    #expect(outcomes.count == 200)
                    for (key, outcome) in outcomes { #expect(try outcome.get() == 2 * key) }
                }
                #expect(computed.withLock { $0.sorted() } == Array(0..<200))
            }
        }
    }
}
