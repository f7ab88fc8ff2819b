import PrivateRedis
import SingleflightRedis
import Synchronization
import TestSupport
import Testing

@Suite("Handles on a real Redis", .usesServer, .timeLimit(.minutes(5)))
struct DistributedHandleTests {
    private static func configuration(
        _ change: (inout DistributedGroupConfiguration) -> Void = { _ in }
    ) -> DistributedGroupConfiguration {
        var configuration = DistributedGroupConfiguration(
            lease: .init(duration: .seconds(60)),
            limits: .init(progressInterval: .milliseconds(100))
        )
        change(&configuration)
        return configuration
    }

    private typealias Pages = DistributedGroup<String, String>

    /// Two processes' groups on one Redis.
    private func withGroups(
        _ configuration: DistributedGroupConfiguration = Self.configuration(),
        _ body: (Pages, Pages, RedisLeaseStore) async throws -> Void
    ) async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                try await one.untilSubscribed()
                try await two.untilSubscribed()
                let here = try Pages("pages", store: one, configuration: configuration)
                let there = try Pages("pages", store: two, configuration: configuration)
                try await body(here, there, two)
            }
        }
    }

    private func leader(_ group: Pages) async throws -> DistributedGroup<String, String>.Leader {
        var leader: DistributedGroup<String, String>.Leader?
        if case .leader(let found) = await group.entry("front") { leader = found }
        return try #require(leader)
    }

    private func subscriber(_ group: Pages) async throws -> DistributedGroup<String, String>.Subscriber {
        var subscriber: DistributedGroup<String, String>.Subscriber?
        if case .subscriber(let found) = await group.entry("front") { subscriber = found }
        return try #require(subscriber)
    }

    private func canceled(_ outcome: Outcome<String>) -> Cancellation? {
        if case .canceled(let reason) = outcome { reason } else { nil }
    }

    private func value(_ outcome: Outcome<String>) throws -> String? {
        if case .complete(let completion) = outcome { try completion.result.get() } else { nil }
    }

    @Test("what a leader hands in reaches its subscribers here and elsewhere, and the store's word reaches it")
    func completes() async throws {
        try await self.withGroups { here, there, _ in
            let leader = try await self.leader(here)
            let (near, far) = (try await self.subscriber(here), try await self.subscriber(there))
            let first = try await leader.fence()
            #expect(leader.isCurrent)
            #expect(leader.complete(.success("by hand")))
            #expect(!leader.complete(.success("again")))
            for outcome in [await leader.outcome(), await near.outcome(), await far.outcome()] {
                #expect(try self.value(outcome) == "by hand")
            }
            let next = try await self.leader(there)
            #expect(try await next.fence() > first)
            next.complete(.success("next"))
            #expect(try self.value(await next.outcome()) == "next")
        }
    }

    @Test("a revoked leader hears of it, and its result is refused")
    func revoked() async throws {
        try await self.withGroups { here, there, two in
            let leader = try await self.leader(here)
            let lost = Gate()
            leader.onLost { _ in lost.open() }
            let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
            let revoke = RevokeRequest(
                key: key,
                token: leader.token,
                by: "ops",
                reason: "stuck"
            )
            #expect(try await two.revoked(revoke) != .nothing)
            await lost.wait()
            #expect(!leader.isCurrent)
            #expect(!leader.complete(.success("late")))
            #expect(self.canceled(await leader.outcome()) == .revoked(by: "ops", reason: "stuck"))
            let next = try await there.value("front") { _ in "free" }
            #expect(next == "free")
        }
    }

    @Test("progress reaches readers here and elsewhere, and whoever begins to wait after it")
    func progress() async throws {
        try await self.withGroups { here, there, _ in
            let leader = try await self.leader(here)
            var near = try await self.subscriber(here).progress.makeAsyncIterator()
            let following = try await self.subscriber(there)
            var far = following.progress.makeAsyncIterator()
            let half = FlightProgress(fraction: 0.5, message: "half of \"it\"\nis done, ä")
            leader.report(progress: half)
            #expect(await near.next() == half)
            #expect(await far.next() == half)
            var late = try await self.subscriber(there).progress.makeAsyncIterator()
            #expect(await late.next() == half)
            leader.report(progress: FlightProgress(fraction: 0.75))
            #expect(await far.next() == FlightProgress(fraction: 0.75))
            leader.complete(.success("value"))
            #expect(try self.value(await following.outcome()) == "value")
            #expect(await far.next() == nil)
        }
    }

    @Test("a leader that nobody waits for any more is told so, and its lease is free")
    func abandoned() async throws {
        try await self.withGroups { here, there, _ in
            let leader = try await self.leader(here)
            let abandoned = Gate()
            let far = try await self.subscriber(there)
            leader.onAbandoned { _ in abandoned.open() }
            far.leave()
            await abandoned.wait()
            #expect(!leader.complete(.success("late")))
            let next = try await there.value("front") { _ in "free" }
            #expect(next == "free")
        }
    }

    @Test("where Redis has died a handle leads without a lease within the command timeout, or is told, as it asks")
    func redisDied() async throws {
        try await PrivateRedis.with { redis in
            let commandTimeout = Duration.seconds(5)
            try await withTwoStores(redis, commandTimeout: commandTimeout) { one, _ in
                let group = try Pages("pages", store: one, configuration: Self.configuration())
                let before = try await group.value("front") { _ in "before" }
                #expect(before == "before")
                await redis.kill()
                guard case .subscriber(let told) = await group.entry("front", unavailable: .fail) else {
                    Issue.record("it leads")
                    return
                }
                guard case .complete(let completion) = await told.outcome() else {
                    Issue.record("canceled")
                    return
                }
                #expect(
                    #expect(throws: DistributedGroupError.self) { try completion.result.get() }?.code == .unavailable
                )
                #expect(completion.waited < commandTimeout * 2, "one timeout, not two")
                let leader = try await self.leader(group)
                #expect(leader.token == nil)
                leader.complete(.success("alone"))
                #expect(try self.value(await leader.outcome()) == "alone")
            }
        }
    }
}
