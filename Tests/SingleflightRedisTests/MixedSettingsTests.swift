import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// Groups of one name whose settings differ, as in a rolling deployment: docs/protocol.md, *Mixed settings*.
@Suite("Processes with other settings", .usesServer, .timeLimit(.minutes(5)))
struct MixedSettingsTests {
    /// What one process leads and another waits for.
    private static func share<Led, Followed>(
        _ one: DistributedGroup<String, Led>,
        _ two: DistributedGroup<String, Followed>,
        _ store: RedisLeaseStore,
        value: Result<Led, Failure>,
        own: Followed
    ) async throws -> (Outcome<Led>, Outcome<Followed>) {
        let gate = Gate()
        async let led = one.run("front") { _ in
            await gate.wait()
            return try value.get()
        }
        await gate.untilArrived()
        async let followed = two.run("front") { _ in own }
        try await store.untilWaiters(1, group: "pages", key: "front")
        gate.open()
        return (await led, await followed)
    }

    private struct Failure: Error {}

    private func withStores(
        _ body: @Sendable (RedisLeaseStore, RedisLeaseStore) async throws -> Void
    ) async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(3)) { one, two in
                try await two.untilSubscribed()
                try await body(one, two)
            }
        }
    }

    @Test("codecs: the value is an error to those who cannot read it, and nothing else")
    func codecs() async throws {
        try await self.withStores { one, two in
            let bytes = try DistributedGroup<String, [UInt8]>("pages", store: one, codec: BytesCodec())
            let text = try DistributedGroup<String, String>("pages", store: two)
            let (led, followed) = try await Self.share(
                bytes,
                text,
                one,
                value: .success([0x22, 0x61, 0x22]),
                own: "own"
            )
            guard case .complete(let own) = led, case .complete(let other) = followed else {
                Issue.record("\(led), \(followed)")
                return
            }
            #expect(try own.result.get() == [0x22, 0x61, 0x22])
            // The bytes are JSON, and are not read as such.
            guard case .failure(let error as DistributedGroupError) = other.result else {
                Issue.record("\(other.result)")
                return
            }
            #expect(error.code == .decodingFailed)
        }
    }

    private static func group(
        _ store: RedisLeaseStore,
        _ change: (inout DistributedGroupConfiguration) -> Void
    ) throws -> DistributedGroup<String, String> {
        var configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)))
        change(&configuration)
        return try DistributedGroup("pages", store: store, configuration: configuration)
    }

    @Test("lease, grace, retention, takeovers, limits, reuse: the flight is shared all the same")
    func others() async throws {
        try await self.withStores { one, two in
            let changes: [@Sendable (inout DistributedGroupConfiguration) -> Void] = [
                { $0.lease.duration = .seconds(31) }, { $0.lease.grace = .milliseconds(200) },
                { $0.results.retention = .seconds(3600) }, { $0.lease.leaderLoss = .takeOver(attempts: 7) },
                { $0.results.maximumBytes = 1 }, { $0.limits.flight = .seconds(1) },
                { $0.results.reuseFailures = .seconds(5) },
                { $0.unavailable = .fail }, { $0.limits.progressInterval = .seconds(60) },
            ]
            for (index, change) in changes.enumerated() {
                let here = try Self.group(one) { _ in }
                let there = try Self.group(two, change)
                let (led, followed) = try await Self.share(here, there, one, value: .success("value"), own: "own")
                guard case .complete(let own) = led, case .complete(let other) = followed else {
                    Issue.record("\(index): \(led), \(followed)")
                    return
                }
                #expect(try own.result.get() == "value", "\(index)")
                #expect(try other.result.get() == "value", "\(index)")
            }
        }
    }

    @Test("typed failures: a process without the rule has the error's type")
    func typedFailures() async throws {
        try await self.withStores { one, two in
            let here = try Self.group(one) {
                $0.results.typedFailures = .codable(Known.self)
            }
            let there = try Self.group(two) { _ in }
            let gate = Gate()
            async let led = here.run("front") { _ in
                await gate.wait()
                throw Known.missing
            }
            await gate.untilArrived()
            async let followed = there.run("front") { _ in "own" }
            try await one.untilWaiters(1, group: "pages", key: "front")
            gate.open()
            _ = await led
            guard case .complete(let other) = await followed, case .failure(let error as RemoteFailure) = other.result
            else {
                Issue.record("no failure")
                return
            }
            #expect(error.type.contains("Known"))
        }
    }

    private enum Known: String, Error, Codable { case missing }
}
