import PrivateRedis
import Testing

@testable import SingleflightRedis

/// What the tests of the lease layer show in memory, on a real Redis: the promises that depend on what the scripts do.
@Suite("The promises of a distributed group on a real Redis", .timeLimit(.minutes(2)))
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
        _ body: (Pair) async throws -> Void
    ) async throws {
        var configuration = DistributedGroupConfiguration(leaseDuration: .milliseconds(1500))
        change(&configuration)
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
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

    private func code(_ outcome: Outcome<String>) throws -> DistributedGroupError.Code? {
        if case .failure(let error as DistributedGroupError) = try self.result(outcome) { error.code } else { nil }
    }

    private func reason(_ outcome: Outcome<String>) -> Cancellation? {
        if case .canceled(let reason) = outcome { reason } else { nil }
    }

    @Test("a lease is renewed for as long as the operation runs")
    func renewed() async throws {
        try await self.withPair { pair in
            let outcomes = try await pair.outcomes(
                of: { $0.isCurrent ? "current" : "lost" },
                meanwhile: {
                    // Twice the lease, which only the server's clock measures.
                    try await Task.sleep(for: .seconds(3))
                }
            )
            #expect(try self.result(outcomes.led).get() == "current")
            #expect(try self.result(outcomes.followed).get() == "current")
        }
    }

    @Test("an error of a type that the group knows reaches the followers as itself")
    func typedError() async throws {
        try await self.withPair({ $0.typedFailures = .codable(Failure.self) }) { pair in
            let outcomes = try await pair.outcomes(of: { _ in throw Failure(reason: "typed") })
            let followed = try self.result(outcomes.followed)
            #expect(throws: Failure(reason: "typed")) { try followed.get() }
        }
    }

    @Test("a result beyond the limit is an error for everybody, and leaves no lease behind")
    func tooLarge() async throws {
        try await self.withPair({ $0.maximumResultBytes = 10 }) { pair in
            let outcomes = try await pair.outcomes(of: { _ in "more than ten bytes" })
            #expect(try self.code(outcomes.led) == .resultTooLarge)
            #expect(try self.code(outcomes.followed) == .resultTooLarge)
            // Outside of the macro: with a closure in its argument the compiler mistakes one closure for another.
            let next = try await pair.there.value("front") { _ in "short" }
            #expect(next == "short")
        }
    }

    @Test("a hung operation is canceled, and everybody gets the error")
    func hung() async throws {
        try await self.withPair({ $0.maximumFlight = .seconds(3) }) { pair in
            let canceled = Gate()
            let outcomes = try await pair.outcomes(of: { _ in
                try? await Task.sleep(for: .seconds(600))
                canceled.open()
                return "too late"
            })
            #expect(try self.code(outcomes.led) == .flightTooLong)
            #expect(try self.code(outcomes.followed) == .flightTooLong)
            await canceled.wait()
        }
    }

    @Test("a result and an error are used again within their time")
    func reuse() async throws {
        try await self.withPair({
            $0.reuse = .seconds(60)
            $0.reuseFailures = .seconds(60)
        }) { pair in
            let first = try await pair.here.value("value") { _ in "first" }
            let second = try await pair.there.value("value") { _ in "second" }
            #expect([first, second] == ["first", "first"])
            let failed = await pair.here.run("error") { _ in throw Failure(reason: "first") }
            #expect(throws: Failure.self) { try self.result(failed).get() }
            guard case .complete(let again) = await pair.there.run("error", operation: { _ in "second" }) else {
                Issue.record("no result")
                return
            }
            #expect(again.source == .reused)
            #expect(throws: RemoteFailure.self) { try again.result.get() }
        }
    }

    @Test("a caller that waits no longer leaves, and the flight goes on for the others")
    func waitLimit() async throws {
        try await self.withPair { pair in
            let (here, there, gate) = (pair.here, pair.there, pair.gate)
            async let led = here.run("front") { _ in
                await gate.wait()
                return "led"
            }
            await gate.untilArrived()
            let limited = await there.run("front", waitingAtMost: .milliseconds(50)) { _ in "not run" }
            #expect(self.reason(limited) == .waitLimitReached)
            gate.open()
            let outcome = try self.result(await led)
            #expect(try outcome.get() == "led")
        }
    }

    @Test("a process that shuts down hands its leases back at once", arguments: [false, true])
    func shutDown(takesOver: Bool) async throws {
        try await self.withPair({
            $0.leaseDuration = .seconds(60)
            $0.leaderLoss = takesOver ? .takeOver(attempts: 1) : .cancel
        }) { pair in
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
                    let revoke = RevokeRequest(key: key, token: nil, by: "ops", reason: "stuck", retention: .seconds(5))
                    #expect(try await store.revoked(revoke) != .nothing)
                    // Work that ends before the announcement comes is only told that its result was refused.
                    while pair.here.inFlight > 0 { await Task.yield() }
                }
            )
            for outcome in [outcomes.led, outcomes.followed] {
                #expect(self.reason(outcome) == .revoked(by: "ops", reason: "stuck"))
            }
        }
    }

    @Test("a value that another codec wrote is refused, not misread")
    func otherCodec() async throws {
        try await self.withPair { pair in
            let numbers = try DistributedGroup<String, [UInt8]>("pages", store: pair.stores.1)
            let (here, gate) = (pair.here, pair.gate)
            async let led = here.run("front") { _ in
                await gate.wait()
                return "text"
            }
            await gate.untilArrived()
            async let followed = numbers.run("front") { _ in [1] }
            try await pair.stores.0.untilWaiters(1, group: "pages", key: "front")
            gate.open()
            let text = try self.result(await led)
            #expect(try text.get() == "text")
            guard case .complete(let completion) = await followed else {
                Issue.record("no result")
                return
            }
            let error = #expect(throws: DistributedGroupError.self) { try completion.result.get() }
            #expect(error?.code == .decodingFailed)
        }
    }
}
