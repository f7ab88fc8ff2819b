import Singleflight
import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

extension Process {
    func leads(sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> DistributedGroup<String, String>.Leader
    {
        var found: DistributedGroup<String, String>.Leader?
        if case .leader(let leader) = await self.group.entry("key") { found = leader }
        return try #require(found, "a subscriber", sourceLocation: sourceLocation)
    }

    func subscribes(
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> DistributedGroup<String, String>.Subscriber {
        var found: DistributedGroup<String, String>.Subscriber?
        if case .subscriber(let subscriber) = await self.group.entry("key") { found = subscriber }
        return try #require(found, "a leader", sourceLocation: sourceLocation)
    }
}

extension DistributedGroup where Key == String {
    /// An entry that has joined its flight, and waits for the store, when this returns.
    func entryAtOnce(_ key: String, unavailable: UnavailablePolicy? = nil) -> Task<Entry, Never> {
        .atOnce { await self.entry(key, unavailable: unavailable) }
    }
}

extension DistributedGroup.Leader {
    /// Waits until `count` callers of its process wait; nothing tells when one begins to.
    func untilSubscribers(_ count: Int) async throws {
        try await until("\(count) callers that wait") { self.subscriberCount >= count }
    }
}

/// Counts calls of a handler.
final class Calls: Sendable {
    private let count = Atomic(0)

    var made: Int { self.count.load(ordering: .sequentiallyConsistent) }

    func call() {
        self.count.add(1, ordering: .sequentiallyConsistent)
    }
}

@Suite("Handles on distributed flights", .timeLimit(.minutes(4)))
struct HandleTests {
    let cluster: Cluster
    let work = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    private static let takesOver = DistributedGroupConfiguration.test { $0.lease.leaderLoss = .takeOver(attempts: 2) }

    // MARK: - Completing

    @Test(
        "a leader's work completes the flight with what it returns, and with what it throws",
        arguments: [false, true]
    )
    func performs(fails: Bool) async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        let follower = try await b.subscribes()
        let outcome = await leader.perform {
            if fails { throw Failure() }
            return "value"
        }
        if fails {
            let local = #expect(throws: RemoteFailure.self) { try outcome.get() }
            let remote = await #expect(throws: RemoteFailure.self) { try await follower.outcome().get() }
            #expect(remote == local)
            #expect(remote?.type.hasSuffix("Failure") == true)
        } else {
            #expect(try outcome.get() == "value")
            #expect(try await follower.outcome().get() == "value")
        }
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("the first to enter leads, all others subscribe, here and elsewhere, and each is told what it was")
    func oneLeads() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        let (here, there) = (try await a.subscribes(), try await b.subscribes())
        #expect(leader.isCurrent)
        #expect(leader.key == "key")
        #expect(leader.subscriberCount == 1)
        #expect(leader.complete(.success("by hand")))
        #expect(!leader.isCurrent)

        let completions = [
            try await leader.outcome().completion(), try await here.outcome().completion(),
            try await there.outcome().completion(),
        ]
        #expect(try completions.map { try $0.result.get() } == ["by hand", "by hand", "by hand"])
        #expect(completions.map(\.role) == [.leader, .subscriber, .follower])
        #expect(completions.map(\.source) == [.thisProcess, .thisProcess, .remote])
        #expect(completions.map(\.isShared) == [true, true, true])
        #expect(completions.map(\.token) == [leader.token, leader.token, leader.token])
        #expect(completions.map(\.coordination) == [.coordinated, .coordinated, .coordinated])
        #expect(leader.token != nil)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("callers with an operation and handles join the same flights")
    func joinsRuns() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        let here = await a.joinedCall(self.work, clock: self.cluster.clock)
        let there = b.call(self.work)
        await self.cluster.untilFollowed(by: 1)
        leader.complete(.success("by hand"))
        #expect(try await here.value.completion().result.get() == "by hand")
        #expect(try await there.value.completion().result.get() == "by hand")
        #expect(self.work.starts == 0)

        let next = a.call(self.work)
        await self.work.untilStarted()
        let (local, remote) = (try await a.subscribes(), try await b.subscribes())
        self.work.finish(.success("by operation"))
        #expect(try await next.value.completion().isShared)
        #expect(try await local.outcome().completion().result.get() == "by operation")
        #expect(try await remote.outcome().completion().result.get() == "by operation")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a leader's lease is renewed for as long as it lives")
    func renewed() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        self.cluster.clock.advance(by: .seconds(60))
        #expect(leader.isCurrent)
        let follower = try await b.subscribes()
        leader.complete(.failure(Failure()))
        let failed = try await follower.outcome().completion().result
        #expect(throws: RemoteFailure.self) { try failed.get() }
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("completing a second time does nothing, and says so")
    func completesOnce() async throws {
        let a = try self.cluster.process("a")
        let leader = try await a.leads()
        let subscriber = try await a.subscribes()
        #expect(leader.complete(.success("first")))
        #expect(!leader.complete(.success("second")))
        #expect(!leader.cancel(reason: "late"))
        #expect(try await subscriber.outcome().completion().result.get() == "first")
        #expect(try await leader.outcome().completion().result.get() == "first", "also when asked after the end")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("fences drawn by handles increase from lease to lease")
    func fences() async throws {
        let a = try self.cluster.process("a")
        let first = try await a.leads()
        let early = try await first.fence()
        first.complete(.success("first"))
        _ = await first.outcome()
        let second = try await a.leads()
        #expect(try await second.fence() > early)
        await #expect(throws: Cancellation.leaseLost) { try await first.fence() }
        second.complete(.success("second"))
        _ = await second.outcome()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("work on behalf of a leader that asks for its own key is refused at once")
    func reentrant() async throws {
        let a = try self.cluster.process("a")
        let leader = try await a.leads()
        let inner = await leader.onBehalf { await a.group.entry("key") }
        guard case .subscriber(let refused) = inner else {
            Issue.record("it leads")
            return
        }
        guard let error = await refused.outcome().cancellation?.underlying as? GroupError else {
            Issue.record("not refused")
            return
        }
        #expect(error.code == .reentrantCall)
        leader.complete(.success("value"))
        _ = await leader.outcome()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a handle is given the result of an earlier flight where the group reuses it")
    func reuse() async throws {
        let a = try self.cluster.process("a", .test { $0.results.reuse = .seconds(1) })
        let leader = try await a.leads()
        leader.complete(.success("first"))
        _ = await leader.outcome()
        await a.store.untilIdle()
        let completion = try await a.subscribes().outcome().completion()
        #expect(try completion.result.get() == "first")
        #expect(completion.source == .reused)
        await self.cluster.expectNothingLeft(a)
    }

    // MARK: - Going away

    @Test("a leader that goes away without a result ends its flight at once, here and elsewhere, and frees the key")
    func goesAway() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        var leader: DistributedGroup<String, String>.Leader? = try await a.leads()
        let (here, there) = (try await a.subscribes(), try await b.subscribes())
        let call = await b.joinedCall(self.work, clock: self.cluster.clock)
        #expect(leader?.isCurrent == true)
        leader = nil
        #expect(await here.outcome().cancellation == .leaderLeft)
        #expect(await there.outcome().cancellation == .leaderLeft)
        #expect(await call.value.cancellation == .leaderLeft)
        #expect(self.work.starts == 0)
        #expect(self.cluster.clock.now.sinceOrigin == .zero, "nobody had to wait for the lease's end")
        await self.cluster.server.untilLease(of: self.cluster.key, isHeld: false)
        _ = leader
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("under takeOver, a caller with an operation leads on when a leader goes away")
    func goesAwayTakenOver() async throws {
        let (a, b) = (try self.cluster.process("a", Self.takesOver), try self.cluster.process("b", Self.takesOver))
        var leader: DistributedGroup<String, String>.Leader? = try await a.leads()
        let call = b.call(self.work)
        await self.cluster.untilFollowed(by: 1)
        #expect(leader?.subscriberCount == 0)
        leader = nil
        await self.work.untilStarted()
        self.work.finish(.success("taken over"))
        let completion = try await call.value.completion()
        #expect(try completion.result.get() == "taken over")
        #expect(completion.attempts == 2)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a leader ends its flight for everybody for a reason of its own, and nobody takes over")
    func cancels() async throws {
        let (a, b) = (try self.cluster.process("a", Self.takesOver), try self.cluster.process("b", Self.takesOver))
        let leader = try await a.leads()
        let here = try await a.subscribes()
        let call = b.call(self.work)
        await self.cluster.untilFollowed(by: 1)
        #expect(leader.cancel(reason: "no more paper"))
        let reason = Cancellation.revoked(by: "a", reason: "no more paper")
        #expect(await here.outcome().cancellation == reason)
        #expect(await call.value.cancellation == reason)
        #expect(await leader.outcome().cancellation == reason)
        #expect(!leader.complete(.success("late")))
        #expect(self.work.starts == 0)
        await self.cluster.expectNothingLeft(a, b)
    }

    // MARK: - Losing the lease

    @Test("a result that comes after the lease was lost is refused, and the handle learns why")
    func completesTooLate() async throws {
        let a = try self.cluster.process("a")
        let leader = try await a.leads()
        let lost = Calls()
        leader.onLost { _ in lost.call() }
        let outcome = Task { await leader.outcome() }
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(2850))
        #expect(await outcome.value.cancellation == .leaseExpired)
        #expect(lost.made == 1)
        #expect(!leader.isCurrent)
        #expect(!leader.complete(.success("late")))
        #expect(await leader.outcome().cancellation == .leaseExpired)
        leader.onLost { _ in lost.call() }
        #expect(lost.made == 2, "whoever asks later hears of it at once")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a result that is under way when the lease is lost is refused by the store, whose word the handle gets")
    func staleCompletion() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let gate = RequestGate()
        let stale = try await a.leads()
        a.store.onRequest { $0 == .complete ? .requestHeld(gate) : .none }
        #expect(stale.complete(.success("stale")), "it is not known yet that it is refused")
        self.cluster.clock.advance(by: .milliseconds(3100))
        let fresh = try await b.leads()
        gate.open()
        #expect(await stale.outcome().cancellation == .leaseLost)
        #expect(fresh.isCurrent)
        fresh.complete(.success("fresh"))
        #expect(try await fresh.outcome().completion().result.get() == "fresh")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a revocation and a shutdown reach the handle at once", arguments: [true, false])
    func endedFromOutside(isRevoked: Bool) async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        let lost = Calls()
        leader.onLost { _ in lost.call() }
        let follower = try await b.subscribes()
        if isRevoked {
            let revoke = RevokeRequest(
                key: self.cluster.key,
                token: leader.token,
                by: "ops",
                reason: "stuck"
            )
            b.store.send(revoke) { _ in }
        } else {
            a.store.shutDown()
        }
        let reason: Cancellation = isRevoked ? .revoked(by: "ops", reason: "stuck") : .leaderShutDown
        #expect(await leader.outcome().cancellation == reason)
        #expect(await follower.outcome().cancellation == reason)
        #expect(lost.made == 1)
        #expect(!leader.complete(.success("late")))
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("work by hand that takes longer than a flight may is lost, and everybody gets the error")
    func tooLong() async throws {
        let (a, b) = (
            try self.cluster.process("a", .test { $0.limits.flight = .seconds(10) }), try self.cluster.process("b")
        )
        let leader = try await a.leads()
        let lost = Calls()
        leader.onLost { _ in lost.call() }
        let follower = try await b.subscribes()
        self.cluster.clock.advance(by: .seconds(10))
        for outcome in [await leader.outcome(), await follower.outcome()] {
            let result = try outcome.completion().result
            #expect(#expect(throws: DistributedGroupError.self) { try result.get() }?.code == .flightTooLong)
        }
        #expect(lost.made == 1)
        #expect(!leader.complete(.success("late")))
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a handler is given its leader, and does not keep it: one that everybody has forgotten keeps nobody waiting")
    func handlersKeepNothing() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let heard = Calls()
        do {
            let leader = try await a.leads()
            let follower = try await b.subscribes()
            leader.onLost { _ in heard.call() }
            leader.onAbandoned { _ in heard.call() }
            let outcome = Task { await follower.outcome() }
            withExtendedLifetime(leader) {}
            _ = consume leader
            #expect(await outcome.value.cancellation == .leaderLeft)
        }
        #expect(heard.made == 0)
        await self.cluster.expectNothingLeft(a, b)
    }

    // MARK: - Taking over

    @Test("a process without an operation leaves a lost flight to one that has one")
    func watcherLeavesTakeover() async throws {
        let names = ["a", "watcher", "b"]
        let processes = try names.map { try self.cluster.process($0, Self.takesOver) }
        let leader = try await processes[0].leads()
        let watcher = try await processes[1].subscribes()
        let call = processes[2].call(self.work)
        await self.cluster.untilFollowed(by: 2)
        processes[0].cutOff()
        self.cluster.clock.advance(by: .milliseconds(3400))
        await self.work.untilStarted()
        self.work.finish(.success("taken over"))
        #expect(try await call.value.completion().result.get() == "taken over")
        #expect(try await watcher.outcome().completion().result.get() == "taken over")
        #expect(await leader.outcome().cancellation == .leaseExpired)
        await self.cluster.expectNothingLeft(processes[1], processes[2])
    }

    @Test("where nobody has an operation, a lost flight ends in time, though somebody may take over")
    func watchersOnly() async throws {
        let (a, b) = (try self.cluster.process("a", Self.takesOver), try self.cluster.process("b", Self.takesOver))
        let leader = try await a.leads()
        let watcher = try await b.subscribes()
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(4200))
        #expect(await watcher.outcome().cancellation == .leaseExpired)
        #expect(await leader.outcome().cancellation == .leaseExpired)
        await self.cluster.expectNothingLeft(b)
    }

    @Test("an operation that a later caller of the process brings along is what takes over")
    func offeredOperation() async throws {
        let (a, b) = (try self.cluster.process("a", Self.takesOver), try self.cluster.process("b", Self.takesOver))
        let leader = try await a.leads()
        let watcher = try await b.subscribes()
        let call = await b.joinedCall(self.work, clock: self.cluster.clock)
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(3400))
        await self.work.untilStarted()
        self.work.finish(.success("taken over"))
        #expect(try await call.value.completion().result.get() == "taken over")
        #expect(try await watcher.outcome().completion().result.get() == "taken over")
        _ = await leader.outcome()
        await self.cluster.expectNothingLeft(b)
    }
}
