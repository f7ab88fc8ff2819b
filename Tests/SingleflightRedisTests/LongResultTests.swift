import FaultProxy
import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("Results that are long on their way", .usesServer, .timeLimit(.minutes(4)))
struct LongResultTests {
    private static let commandTimeout = Duration.seconds(6)
    /// `make soak` asks for 64 MiB at 2 MB/s.
    private static let isLong = ProcessInfo.processInfo.environment["SINGLEFLIGHT_LONG_RESULT"] != nil
    /// It takes 20 s, or 34 s, in each direction: more than three command timeouts, and more than a lease.
    private static let bytes = (isLong ? 64 : 8) << 20
    private static let bytesPerSecond = isLong ? 2_000_000 : 410 << 10

    private static func configuration(_ label: String) -> RedisLeaseStoreConfiguration {
        .init(
            namespace: "test",
            label: label,
            commandTimeout: Self.commandTimeout,
            maximumPayloadBytes: 2 * Self.bytes,
            payloadTimeout: .seconds(120)
        )
    }

    private static func group(_ store: RedisLeaseStore) throws -> DistributedGroup<String, [UInt8]> {
        try DistributedGroup(
            "pages",
            store: store,
            configuration: .init(
                lease: .init(duration: .seconds(18)),
                results: .init(maximumBytes: Self.bytes + 1024),
                unavailable: .fail
            )
        )
    }

    @Test("arrive over a slow link, and small flights beside them keep their leases and their time")
    func slowLink() async throws {
        let value = (0..<Self.bytes).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try await PrivateRedis.with { redis in
            let socketPath = try #require(redis.socketPath)
            try await SlowLink.with(to: socketPath, bytesPerSecond: Self.bytesPerSecond) { port in
                let url = "redis://127.0.0.1:\(port)"
                try await RedisLeaseStore.withConnection(to: url, configuration: Self.configuration("one")) { one in
                    try await RedisLeaseStore.withConnection(to: url, configuration: Self.configuration("two")) { two in
                        try await one.untilSubscribed()
                        try await two.untilSubscribed()
                        let (here, there) = (try Self.group(one), try Self.group(two))
                        let gate = Gate()
                        let led = Task {
                            await here.run("long") { _ in
                                await gate.wait()
                                return value
                            }
                        }
                        await gate.untilArrived()
                        let followed = Task { await there.run("long") { _ in [] } }
                        try await one.untilWaiters(1, group: "pages", key: "long")
                        let beside = Task { try await Self.smallFlights(here) }
                        gate.open()
                        let (leader, follower) = await (led.value, followed.value)
                        beside.cancel()
                        #expect(try leader.get() == value)
                        #expect(try follower.get() == value)
                        guard case .complete(let completion) = follower else { return }
                        #expect(completion.role == .follower)
                        let flights = try await beside.value
                        #expect(flights.count > 10)
                        #expect(flights.allSatisfy { $0.coordination == .coordinated })
                        #expect(flights.allSatisfy { $0.waited < Self.commandTimeout })
                    }
                }
            }
        }
    }

    private static func smallFlights(
        _ group: DistributedGroup<String, [UInt8]>
    ) async throws -> [Completion<[UInt8]>] {
        var completions: [Completion<[UInt8]>] = []
        while !Task.isCancelled {
            // Not canceled with this task: it is about how they end.
            let outcome = await Task { await group.run("small") { _ in [1] } }.value
            guard case .complete(let completion) = outcome else {
                Issue.record("\(outcome)")
                return completions
            }
            _ = try completion.result.get()
            completions.append(completion)
            // The pace of these flights, which share the link with the long result; nothing waits for it.
            try? await Task.sleep(for: .milliseconds(20))
        }
        return completions
    }

    @Test("a group whose results are longer than its store takes cannot be made")
    func limits() throws {
        var configuration = Self.configuration("one")
        configuration.maximumPayloadBytes = 1 << 20
        let store = try RedisLeaseStore(url: "redis://127.0.0.1", configuration: configuration)
        let error = #expect(throws: DistributedGroupError.self) {
            try DistributedGroup<String, [UInt8]>(
                "pages",
                store: store,
                configuration: .init(
                    lease: .init(duration: .seconds(60)),
                    results: .init(maximumBytes: 1 << 20 + 1)
                )
            )
        }
        #expect(error?.code == .invalidConfiguration)
        _ = try DistributedGroup<String, [UInt8]>(
            "pages",
            store: store,
            configuration: .init(lease: .init(duration: .seconds(60)), results: .init(maximumBytes: 1 << 20))
        )
        for bytes in [0, 1 << 30] {
            configuration.maximumPayloadBytes = bytes
            #expect(throws: LeaseStoreError.self) {
                try RedisLeaseStore(url: "redis://127.0.0.1", configuration: configuration)
            }
        }
    }

    /// With settings that differ from process to process no check when the group is made helps.
    @Test("a follower that takes no result of that length is told so, and keeps its connection")
    func tooLong() async throws {
        try await PrivateRedis.with { redis in
            var small = Self.configuration("two")
            small.maximumPayloadBytes = 1 << 20
            small.commandTimeout = .seconds(5)
            var large = Self.configuration("one")
            large.commandTimeout = .seconds(5)
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: large) { one in
                try await RedisLeaseStore.withConnection(to: redis.url, configuration: small) { two in
                    try await two.untilSubscribed()
                    let here = try DistributedGroup<String, [UInt8]>(
                        "pages",
                        store: one,
                        configuration: .init(lease: .init(duration: .seconds(60)))
                    )
                    let there = try DistributedGroup<String, [UInt8]>(
                        "pages",
                        store: two,
                        configuration: .init(
                            lease: .init(duration: .seconds(60)),
                            results: .init(maximumBytes: 1 << 20),
                            unavailable: .fail
                        )
                    )
                    let gate = Gate()
                    let led = Task {
                        await here.run("long") { _ in
                            await gate.wait()
                            return Array(repeating: 7, count: 2 << 20)
                        }
                    }
                    await gate.untilArrived()
                    let followed = Task { await there.run("long") { _ in [] } }
                    try await one.untilWaiters(1, group: "pages", key: "long")
                    let before = try await Self.connections(redis)
                    gate.open()
                    let outcome = await followed.value
                    let error = #expect(throws: DistributedGroupError.self) { try outcome.get() }
                    #expect(error?.code == .resultTooLarge)
                    // By its length, before it is on its way.
                    #expect(error?.message.contains("more than the \(1 << 20) that this process takes") == true)
                    #expect(try await led.value.get().count == 2 << 20)
                    // The leader has made one more, for the result.
                    #expect(try await Self.connections(redis).isSuperset(of: before))
                }
            }
        }
    }

    private static func connections(_ redis: PrivateRedis) async throws -> Set<Substring> {
        Set(
            try await redis.command("CLIENT", "LIST").split(separator: "\n").filter { $0.contains("name=sf:") }
                .compactMap { $0.split(separator: " ").first { $0.contains("id=") }?.drop { $0 != "i" } }
        )
    }
}
