import Dispatch
import Singleflight
import SingleflightLease
import SingleflightTestKit
import TestSupport
import Testing

@Suite("Those who wait for a distributed flight by hand", .timeLimit(.minutes(4)))
struct HandleWaitingTests {
    let cluster: Cluster
    let work = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    @Test("many tasks share one subscriber's outcome, and the cancellation of one changes nothing for the others")
    func sharedOutcome() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        let follower = try await b.subscribes()
        // All wait when the first is canceled.
        let tasks = (0..<3).map { _ in Task<Outcome<String>, Never>.atOnce { await follower.outcome() } }
        tasks[0].cancel()
        #expect(await tasks[0].value.cancellation == .callerCanceled)
        await self.cluster.untilFollowed(by: 1)
        leader.complete(.success("value"))
        for task in tasks[1...] {
            #expect(try await task.value.completion().result.get() == "value")
        }
        #expect(try await follower.outcome().completion().result.get() == "value")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a subscriber that leaves, or goes away, takes its process off the waiters", arguments: [true, false])
    func leaves(byHand: Bool) async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        var follower: DistributedGroup<String, String>.Subscriber? = try await b.subscribes()
        await self.cluster.untilFollowed(by: 1)
        if byHand {
            let waiting = follower.map { follower in Task { await follower.outcome() } }
            follower?.leave()
            #expect(await waiting?.value.cancellation == .left)
            #expect(await follower?.outcome().cancellation == .left)
        }
        follower = nil
        await self.cluster.server.untilWaiters(of: self.cluster.key, 0)
        #expect(leader.isCurrent)
        leader.complete(.success("value"))
        #expect(try await leader.outcome().completion().isShared == false)
        _ = follower
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a canceled task that enters is answered at once, and the lease that it is granted later goes back")
    func canceledEntry() async throws {
        let a = try self.cluster.process("a")
        let gate = RequestGate()
        a.store.onRequest { $0 == .enter ? .replyHeld(gate) : .none }
        let entry = Task { await a.group.entry("key") }
        await gate.untilHeld()
        entry.cancel()
        guard case .subscriber(let subscriber) = await entry.value else {
            Issue.record("it leads")
            return
        }
        #expect(await subscriber.outcome().cancellation == .callerCanceled)
        gate.open()
        await self.cluster.server.untilLease(of: self.cluster.key, isHeld: false)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("the lease of a canceled entry is led under by the operation of whoever joined meanwhile")
    func canceledEntryWithCompany() async throws {
        let a = try self.cluster.process("a")
        let gate = RequestGate()
        a.store.onRequest { $0 == .enter ? .replyHeld(gate) : .none }
        let entry = Task { await a.group.entry("key") }
        await gate.untilHeld()
        let call = await a.joinedCall(self.work, clock: self.cluster.clock)
        entry.cancel()
        _ = await entry.value
        gate.open()
        await self.work.untilStarted()
        self.work.finish(.success("joined"))
        #expect(try await call.value.completion().result.get() == "joined")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("whoever only waits is canceled when the entry that was to lead is, and nobody has an operation")
    func canceledEntryWithSubscriber() async throws {
        let a = try self.cluster.process("a")
        let gate = RequestGate()
        a.store.onRequest { $0 == .enter ? .replyHeld(gate) : .none }
        let first = a.group.entryAtOnce("key")
        let second = a.group.entryAtOnce("key")
        first.cancel()
        _ = await first.value
        gate.open()
        guard case .subscriber(let subscriber) = await second.value else {
            Issue.record("it leads")
            return
        }
        #expect(await subscriber.outcome().cancellation == .leaderLeft)
        await self.cluster.expectNothingLeft(a)
    }

    // The effects of a flight are carried out by one thread at a time. While another one is at it, the release of a
    // lease that is given up waits for that one; the next call of the key must not come to the store before it, and be
    // told to wait for what ends.
    @Test("a call right after a leader went away starts afresh, though another thread still acts for the old flight")
    func afterLeaderHasGone() async throws {
        let a = try self.cluster.process("a")
        var leader: DistributedGroup<String, String>.Leader? = try await a.leads()
        #expect(leader?.isCurrent == true)
        let (renewing, blocked) = (Gate("the renewal"), DispatchSemaphore(value: 0))
        renewing.open()
        let once = CountDown(1)
        a.store.onRequest { operation in
            guard operation == .renew, once.take() else { return .none }
            Task { await renewing.wait() }
            blocked.wait()
            return .none
        }
        let clock = self.cluster.clock
        DispatchQueue(label: "acting").async { clock.advance(by: .seconds(1)) }
        await renewing.untilArrived()
        leader = nil
        let work = Work()
        work.finish(.success("fresh"))
        let call = await a.joinedCall(work, clock: clock)
        blocked.signal()
        let completion = try await call.value.completion()
        #expect(try completion.result.get() == "fresh")
        #expect(completion.role == .leader)
        await self.cluster.expectNothingLeft(a)
    }

    // MARK: - Nobody waits

    @Test("a leader that wants to is told when the last one who waits here leaves, and its lease is free at once")
    func abandoned() async throws {
        let a = try self.cluster.process("a")
        let leader = try await a.leads()
        let abandoned = Calls()
        let subscriber = try await a.subscribes()
        leader.onAbandoned { _ in abandoned.call() }
        leader.onAbandoned { _ in Issue.record("only the first handler is kept") }
        #expect(abandoned.made == 0)
        #expect(leader.subscriberCount == 1)
        subscriber.leave()
        await self.cluster.server.untilLease(of: self.cluster.key, isHeld: false)
        #expect(abandoned.made == 1)
        #expect(!leader.complete(.success("late")))
        #expect(await leader.outcome().cancellation == .abandoned)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a leader that nobody waits for here goes on for those elsewhere, and ends when the last of them leaves")
    func abandonedElsewhere() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        let abandoned = Calls()
        let follower = try await b.subscribes()
        leader.onAbandoned { _ in abandoned.call() }
        self.cluster.clock.advance(by: .seconds(20))
        #expect(abandoned.made == 0)
        #expect(leader.isCurrent)
        follower.leave()
        await self.cluster.server.untilLease(of: self.cluster.key, isHeld: false)
        #expect(abandoned.made == 1)
        #expect(self.cluster.clock.now.sinceOrigin == .seconds(20), "it did not wait for a renewal")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a leader that nobody waits for here still completes for those elsewhere")
    func abandonedCompletes() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        let follower = try await b.subscribes()
        leader.onAbandoned { _ in Issue.record("somebody waits") }
        #expect(leader.complete(.success("for b")))
        #expect(try await follower.outcome().completion().result.get() == "for b")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a leader that did not ask to be told goes on though everybody has left")
    func notAbandoned() async throws {
        let a = try self.cluster.process("a")
        let leader = try await a.leads()
        try await a.subscribes().leave()
        self.cluster.clock.advance(by: .seconds(20))
        #expect(leader.isCurrent)
        #expect(leader.subscriberCount == 0)
        leader.complete(.success("value"))
        #expect(try await leader.outcome().completion().result.get() == "value")
        await self.cluster.expectNothingLeft(a)
    }

    // MARK: - Without a store

    private func entries(_ process: Process, _ policy: UnavailablePolicy, _ count: Int) async
        -> [DistributedGroup<String, String>.Entry]
    {
        let tasks = (0..<count).map { _ in process.group.entryAtOnce("key", unavailable: policy) }
        self.cluster.clock.advance(by: .milliseconds(100))
        var entries: [DistributedGroup<String, String>.Entry] = []
        for task in tasks {
            entries.append(await task.value)
        }
        return entries
    }

    @Test("where the store cannot be asked a handle leads without a lease, and callers of the process share its result")
    func leadsWithoutLease() async throws {
        let a = try self.cluster.process("a")
        a.cutOff()
        let entries = await self.entries(a, .runLocally, 1)
        guard case .leader(let leader) = entries.first else {
            Issue.record("it does not lead")
            return
        }
        #expect(leader.isCurrent)
        #expect(leader.token == nil)
        await #expect(throws: DistributedGroupError.self) { try await leader.fence() }
        a.store.onRequest { $0 == .enter ? .requestLost(LeaseStoreError(.protocolViolation, "no lease store")) : .none }
        let subscriber = try await a.subscribes()
        let call = a.call(self.work)
        try await leader.untilSubscribers(2)
        #expect(leader.complete(.success("alone")))
        for outcome in [await leader.outcome(), await subscriber.outcome(), await call.value] {
            let completion = try outcome.completion()
            #expect(try completion.result.get() == "alone")
            #expect(completion.coordination == .degraded)
            #expect(completion.token == nil)
        }
        #expect(self.work.starts == 0)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("where the store cannot be asked, of several that enter one leads, whichever came first")
    func oneLeadsWithoutLease() async throws {
        let a = try self.cluster.process("a")
        a.cutOff()
        var subscribers: [DistributedGroup<String, String>.Subscriber] = []
        for entry in await self.entries(a, .runLocally, 4) {
            if case .subscriber(let subscriber) = entry { subscribers.append(subscriber) }
        }
        #expect(subscribers.count == 3, "the leader has gone away already")
        for subscriber in subscribers {
            #expect(await subscriber.outcome().cancellation == .leaderLeft)
        }
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("where the store cannot be asked and the policy is to fail, the handle's outcome says so")
    func fails() async throws {
        let a = try self.cluster.process("a")
        a.cutOff()
        guard case .subscriber(let subscriber) = await self.entries(a, .fail, 1).first else {
            Issue.record("it leads")
            return
        }
        let completion = try await subscriber.outcome().completion()
        #expect(#expect(throws: DistributedGroupError.self) { try completion.result.get() }?.code == .unavailable)
        #expect(completion.coordination == .degraded)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a handle that waits for a flight which can no longer be asked about is told that, and does not hang")
    func losesStoreWhileWaiting() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        let follower = try await b.subscribes()
        b.cutOff()
        self.cluster.server.dropsAnnouncements = true
        leader.complete(.success("unheard"))
        _ = await leader.outcome()
        self.cluster.clock.advance(by: .seconds(6))
        let result = try await follower.outcome().completion().result
        #expect(#expect(throws: DistributedGroupError.self) { try result.get() }?.code == .unavailable)
        await self.cluster.expectNothingLeft(b)
    }

    // MARK: - Limits

    @Test("a handle past the bound of waiting callers is refused at once, by its outcome")
    func bounded() async throws {
        let a = try self.cluster.process("a", .test { $0.limits.waitersPerKey = 1 })
        let leader = try await a.leads()
        let first = try await a.subscribes()
        guard let error = await (try await a.subscribes()).outcome().cancellation?.underlying as? GroupError else {
            Issue.record("not refused")
            return
        }
        #expect(error.code == .tooManyWaiters)
        leader.complete(.success("value"))
        #expect(try await first.outcome().completion().result.get() == "value")
        await self.cluster.expectNothingLeft(a)
    }
}
