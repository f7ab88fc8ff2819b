import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightRedis

/// What the tests of the lease layer show in memory, on a real Redis: the promises that depend on what the scripts do.
@Suite("The promises of a distributed group on a real Redis", .usesServer, .timeLimit(.minutes(5)))
struct PromiseTests {
    private struct Failure: Error, Codable, Hashable {
        var reason: String
    }

    private typealias Pages = DistributedGroup<String, String>

    /// Two processes' groups, the second of which follows while the first computes until the gate opens.
    private struct Pair {
        let here: Pages
        let there: Pages
        let stores: (RedisLeaseStore, RedisLeaseStore)
        let gate = Gate()

        /// The outcomes of a leader and a follower, when the operation ends as `end` does.
        func outcomes(
            of end: @escaping @Sendable (Flight<String>) async throws -> String,
            meanwhile: () async throws -> Void = {}
        ) async throws -> (led: Outcome<String>, followed: Outcome<String>) {
            let gate = self.gate
            async let led = self.here.run("front") { flight in
                await gate.wait()
                return try await end(flight)
            }
            await gate.untilArrived()
            async let followed = self.there.run("front") { _ in "computed there" }
            try await self.stores.0.untilWaiters(1, group: "pages", key: "front")
            try await meanwhile()
            gate.open()
            return (await led, await followed)
        }
    }

    private func withPair(
        _ change: (inout DistributedGroupConfiguration) -> Void = { _ in },
        commandTimeout: Duration = .seconds(10),
        _ body: (Pair) async throws -> Void
    ) async throws {
        var configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)))
        change(&configuration)
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: commandTimeout) { one, two in
                try await one.untilSubscribed()
                try await two.untilSubscribed()
                let here = try Pages("pages", store: one, configuration: configuration)
                let there = try Pages("pages", store: two, configuration: configuration)
                try await body(Pair(here: here, there: there, stores: (one, two)))
            }
        }
    }

    private func result(_ outcome: Outcome<String>) throws -> Result<String, any Error> {
        var result: Result<String, any Error>?
        if case .complete(let completion) = outcome { result = completion.result }
        return try #require(result, "\(outcome)")
    }

    private func reason(_ outcome: Outcome<String>) -> Cancellation? {
        if case .canceled(let reason) = outcome { reason } else { nil }
    }

    @Test("a lease is renewed for as long as the operation runs")
    func renewed() async throws {
        try await self.withPair({ $0.lease.duration = .seconds(9) }, commandTimeout: .seconds(3)) { pair in
            let outcomes = try await pair.outcomes(
                of: { $0.isCurrent ? "current" : "lost" },
                meanwhile: {
                    // A third of the lease lies between two renewals: the sixth is past twice the lease.
                    let (store, key) = (pair.stores.0, try FlightKey(group: "pages", bytes: Array("front".utf8)))
                    try await until("six renewals") {
                        try await store.inspected(key).lease?.note.renewals ?? 0 >= 6
                    }
                }
            )
            #expect(try self.result(outcomes.led).get() == "current")
            #expect(try self.result(outcomes.followed).get() == "current")
        }
    }

    @Test("a result and an error are used again within their time")
    func reuse() async throws {
        try await self.withPair({
            $0.results.reuse = .seconds(60)
            $0.results.reuseFailures = .seconds(60)
        }) { pair in
            let first = try await pair.here.value("value") { _ in "first" }
            let second = try await pair.there.value("value") { _ in "second" }
            #expect([first, second] == ["first", "first"])
            let failed = await pair.here.run("error") { _ in throw Failure(reason: "first") }
            #expect(throws: RemoteFailure.self) { try self.result(failed).get() }
            guard case .complete(let again) = await pair.there.run("error", operation: { _ in "second" }) else {
                Issue.record("no result")
                return
            }
            #expect(again.source == .reused && again.role == .reused)
            #expect(throws: RemoteFailure.self) { try again.result.get() }
        }
    }

    @Test("a process that shuts down hands its leases back at once", arguments: [false, true])
    func shutDown(takesOver: Bool) async throws {
        try await self.withPair({ $0.lease.leaderLoss = takesOver ? .takeOver(attempts: 1) : .cancel }) { pair in
            let store = pair.stores.0
            let outcomes = try await pair.outcomes(of: { _ in "too late" }, meanwhile: { await store.shutDown() })
            #expect(self.reason(outcomes.led) == .leaderShutDown)
            if takesOver {
                #expect(try self.result(outcomes.followed).get() == "computed there")
            } else {
                #expect(self.reason(outcomes.followed) == .leaderShutDown)
            }
        }
    }

    @Test("a flight that is revoked is canceled for everybody, and its leader's work, too")
    func revoked() async throws {
        try await self.withPair { pair in
            let store = pair.stores.1
            let outcomes = try await pair.outcomes(
                of: { $0.isCurrent ? "current" : "lost" },
                meanwhile: {
                    let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                    let revoke = RevokeRequest(key: key, token: nil, by: "ops", reason: "stuck")
                    #expect(try await store.revoked(revoke) != .nothing)
                    // Work that ends before the announcement comes is only told that its result was refused.
                    try await until("the end of the leader's flight") { pair.here.inFlight == 0 }
                }
            )
            for outcome in [outcomes.led, outcomes.followed] {
                #expect(self.reason(outcome) == .revoked(by: "ops", reason: "stuck"))
            }
        }
    }
}
