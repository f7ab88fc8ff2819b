import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// Results for which the server has no room.
@Suite("Long results on a server that is out of memory", .usesServer, .timeLimit(.minutes(5)))
struct FullServerTests {
    private typealias Call = Task<Outcome<[UInt8]>, Never>

    private static let longCount = 8

    private static func group(_ store: RedisLeaseStore) throws -> DistributedGroup<String, [UInt8]> {
        let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)), unavailable: .fail)
        return try DistributedGroup("pages", store: store, configuration: configuration, codec: BytesCodec())
    }

    private static func usedMemory(_ redis: PrivateRedis) async throws -> Int {
        let lines = try await redis.command("INFO", "memory").split(separator: "\r\n")
        let line = try #require(lines.first { $0.hasPrefix("used_memory:") })
        return try #require(Int(line.dropFirst("used_memory:".count)))
    }

    @Test("are refused, the others are told so at once, and what computed them has them")
    func refused() async throws {
        let configuration = PrivateRedis.Configuration(extraLines: ["maxmemory 24mb", "maxmemory-policy noeviction"])
        try await PrivateRedis.with(configuration) { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(20)) { one, two in
                try await two.untilSubscribed()
                let (here, there) = (try Self.group(one), try Self.group(two))
                // All of them lead, and are waited for, before the server has anything to keep.
                let long = [UInt8](repeating: 7, count: 4 << 20)
                var calls: [(gate: Gate, led: Call, followed: Call)] = []
                for index in 0...Self.longCount {
                    let (gate, value) = (Gate(), index < Self.longCount ? long : [1])
                    let led = Task {
                        await here.run("page \(index)") { _ in
                            await gate.wait()
                            return value
                        }
                    }
                    await gate.untilArrived()
                    let followed = Task { await there.run("page \(index)") { _ in [] } }
                    try await one.untilWaiters(1, group: "pages", key: "page \(index)")
                    calls.append((gate, led, followed))
                }
                var refused = 0
                for (index, call) in calls.enumerated() {
                    call.gate.open()
                    guard case .complete(let own) = await call.led.value,
                        case .complete(let other) = await call.followed.value
                    else {
                        Issue.record("page \(index): canceled")
                        return
                    }
                    let value = try own.result.get()
                    #expect(value == (index < Self.longCount ? long : [1]), "page \(index)")
                    switch other.result {
                    case .success(let found):
                        #expect(found == value, "page \(index)")
                    case .failure(let error):
                        #expect((error as? DistributedGroupError)?.code == .storeFull, "page \(index): \(error)")
                        #expect(index < Self.longCount, "a short result ends its flight")
                        refused += 1
                    }
                }
                #expect(refused >= 3, "\(refused) of 8 times 4 MiB do not fit into 24 MB")
                #expect(try await Self.usedMemory(redis) < 40 << 20)
            }
        }
    }
}
