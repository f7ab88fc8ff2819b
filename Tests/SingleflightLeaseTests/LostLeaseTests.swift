import SingleflightLease
import SingleflightTestKit
import Testing

/// A store that loses its data, or stays away for longer than a lease, costs no caller its result.
@Suite("Leases that are lost though their leader lives", .timeLimit(.minutes(4)))
struct LostLeaseTests {
    let cluster: Cluster
    let work = Work()
    let other = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    private static let leadsAgain = DistributedGroupConfiguration.test { $0.lease.onLost = .leadAgain }

    /// Until the work has begun, and the leader's timer is set: time that goes by before would be missed.
    private func untilLeading() async {
        await self.work.untilStarted()
        await self.cluster.clock.untilScheduled()
    }

    /// Lets everybody hear that the store is back.
    private func resume(_ processes: Process...) {
        for process in processes { process.store.resumeInbox() }
        self.cluster.clock.advance(by: .milliseconds(50))
    }

    @Test("a leader whose lease the store lost takes another one, its work goes on, and its followers come back to it")
    func leaderLeadsAgain() async throws {
        let (a, b) = (try self.cluster.process("a", Self.leadsAgain), try self.cluster.process("b", Self.leadsAgain))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let flight = try #require(self.work.flight)
        let (token, fence) = (flight.token, try await flight.fence())
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)

        self.cluster.server.loseEverything()
        self.resume(a, b)
        #expect(flight.isCurrent)
        #expect(flight.token != token)
        #expect(try await flight.fence() > fence)
        self.cluster.clock.advance(by: .milliseconds(600))
        await self.cluster.untilFollowed(by: 1)
        self.cluster.clock.advance(by: .seconds(20))
        self.work.finish(.success("one"))
        for call in [leader, follower] {
            let completion = try await call.value.completion()
            #expect(try completion.result.get() == "one")
            #expect(completion.coordination == .coordinated)
            #expect(completion.token == flight.token)
        }
        #expect(self.work.cancellations == 0)
        #expect(self.other.starts == 0)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("if somebody else leads by then, the leader's work is canceled, and its callers get the other one's result")
    func somebodyElseLeads() async throws {
        let (a, b) = (try self.cluster.process("a", Self.leadsAgain), try self.cluster.process("b", Self.leadsAgain))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let subscriber = await a.joinedCall(self.work, clock: self.cluster.clock)
        self.cluster.server.loseEverything()
        let second = b.call(self.other)
        await self.other.untilStarted()
        self.resume(a)
        await self.work.untilCanceled()
        #expect(self.work.flight?.isCurrent == false)
        self.other.finish(.success("b's"))
        for call in [leader, subscriber, second] {
            #expect(try await call.value.completion().result.get() == "b's")
        }
        #expect(try await leader.value.completion().role == .follower)
        #expect(self.work.starts == 1)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a leader by hand is told when somebody else leads, and gets that one's result")
    func byHand() async throws {
        let (a, b) = (try self.cluster.process("a", Self.leadsAgain), try self.cluster.process("b", Self.leadsAgain))
        let leader = try await a.leads()
        let lost = Calls()
        leader.onLost { _ in lost.call() }
        self.cluster.server.loseEverything()
        self.resume(a)
        #expect(leader.isCurrent)
        #expect(lost.made == 0)
        self.cluster.server.loseEverything()
        let second = b.call(self.other)
        await self.other.untilStarted()
        self.resume(a)
        #expect(lost.made == 1)
        #expect(!leader.isCurrent)
        #expect(!leader.complete(.success("late")))
        self.other.finish(.success("b's"))
        #expect(try await leader.outcome().completion().result.get() == "b's")
        #expect(try await second.value.completion().result.get() == "b's")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a result that comes when the lease is gone is handed in under another one")
    func completesUnderAnother() async throws {
        let a = try self.cluster.process("a", Self.leadsAgain)
        let call = a.call(self.work)
        await self.work.untilStarted()
        let token = self.work.flight?.token
        self.cluster.server.loseEverything()
        self.work.finish(.success("value"))
        let completion = try await call.value.completion()
        #expect(try completion.result.get() == "value")
        #expect(completion.coordination == .coordinated)
        #expect(completion.token != token)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("while the store is away the work goes on past its lease, and its callers get its result")
    func outlivesLease() async throws {
        let a = try self.cluster.process("a", Self.leadsAgain)
        let call = a.call(self.work)
        await self.untilLeading()
        let strict = await self.joined(a, .fail)
        a.cutOff()
        self.cluster.clock.advance(by: .seconds(60))
        #expect(self.work.cancellations == 0)
        #expect(self.work.flight?.isCurrent == false)
        self.work.finish(.success("alone"))
        let completion = try await call.value.completion()
        #expect(try completion.result.get() == "alone")
        #expect(completion.coordination == .degraded)
        let failed = try await strict.value.completion().result
        #expect(#expect(throws: DistributedGroupError.self) { try failed.get() }?.code == .unavailable)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a result that comes while another lease is asked for is told without one after a command timeout")
    func completesWithoutLease() async throws {
        let a = try self.cluster.process("a", Self.leadsAgain)
        let call = a.call(self.work)
        await self.untilLeading()
        self.cluster.server.loseEverything()
        a.cutOff([.enter])
        self.cluster.clock.advance(by: .seconds(2))
        #expect(self.work.flight?.isCurrent == false)
        self.work.finish(.success("alone"))
        let advancing = self.advancing()
        let completion = try await call.value.completion()
        await advancing()
        #expect(try completion.result.get() == "alone")
        #expect(completion.coordination == .degraded)
        #expect(self.work.cancellations == 0)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("when the store is back after longer than a lease, the leader has a lease again")
    func backAfterLongOutage() async throws {
        let a = try self.cluster.process("a", Self.leadsAgain)
        let call = a.call(self.work)
        await self.untilLeading()
        for outage in [Duration.seconds(4), .seconds(60)] {
            a.cutOff()
            self.cluster.clock.advance(by: outage)
            #expect(self.work.flight?.isCurrent == false)
            a.cutOff([])
            self.cluster.clock.advance(by: .milliseconds(301))
            #expect(self.work.flight?.isCurrent == true)
        }
        self.work.finish(.success("value"))
        #expect(try await call.value.completion().coordination == .coordinated)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    private static let fails = DistributedGroupConfiguration.test {
        $0.lease.onLost = .leadAgain
        $0.unavailable = .fail
    }

    /// What a caller gets whose store cannot be asked.
    private func expectUnavailable(_ outcome: Outcome<String>) throws {
        let error = #expect(throws: DistributedGroupError.self) { try outcome.completion().result.get() }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("cut off") == true)
    }

    @Test("a leader whose answers are lost for longer than a lease asks under a new token, and leads by it")
    func tokenIsUsedUp() async throws {
        let a = try self.cluster.process("a", Self.leadsAgain)
        let call = a.call(self.work)
        await self.untilLeading()
        let flight = try #require(self.work.flight)
        func held() async throws -> LeaseToken {
            let inspection = try await a.store.answer(to: InspectRequest(key: self.cluster.key)).get()
            return try #require(inspection.lease).token
        }
        // Each request is carried out, and none is known to have been.
        a.store.onRequest { $0 == .enter ? .replyLost(.cutOff) : .none }
        self.cluster.server.loseEverything()
        self.cluster.clock.advance(by: .seconds(1))
        let first = try await held()
        self.cluster.clock.advance(by: .milliseconds(2_500))
        #expect(try await held() == first)
        self.cluster.clock.advance(by: .seconds(1))
        let second = try await held()
        #expect(second != first)
        a.store.onRequest { _ in .none }
        self.cluster.clock.advance(by: .seconds(1))
        #expect(flight.isCurrent)
        #expect(flight.token == second)
        #expect(self.work.cancellations == 0)
        self.work.finish(.success("one"))
        let completion = try await call.value.completion()
        #expect(try completion.result.get() == "one")
        #expect(completion.coordination == .coordinated)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("where calls are to fail without the store, the work is canceled at its lease's end, and they are told why")
    func failsAtDeadline() async throws {
        let a = try self.cluster.process("a", Self.fails)
        let call = a.call(self.work)
        await self.untilLeading()
        let lenient = await self.joined(a, .runLocally)
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(2849))
        #expect(self.work.cancellations == 0)
        self.cluster.clock.advance(by: .milliseconds(1))
        await self.work.untilCanceled()
        try self.expectUnavailable(await call.value)
        await self.other.untilStarted()
        self.other.finish(.success("alone"))
        #expect(try await lenient.value.completion().result.get() == "alone")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a result that comes while the store is away is an error for those, within a command timeout")
    func failsWithResult() async throws {
        let a = try self.cluster.process("a", Self.fails)
        let leader = try await a.leads()
        let lenient = await self.joined(a, .runLocally)
        a.cutOff()
        self.cluster.clock.advance(by: .seconds(2))
        #expect(leader.complete(.success("alone")))
        self.cluster.clock.advance(by: a.store.commandTimeout)
        try self.expectUnavailable(await leader.outcome())
        #expect(try await lenient.value.completion().result.get() == "alone")
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a revoked flight stays revoked, and nobody leads it again")
    func revoked() async throws {
        let a = try self.cluster.process("a", Self.leadsAgain)
        let call = a.call(self.work)
        await self.untilLeading()
        self.cluster.server.dropsAnnouncements = true
        let revoke = RevokeRequest(
            key: self.cluster.key,
            token: nil,
            by: "ops",
            reason: "stuck"
        )
        InMemoryLeaseStore(server: self.cluster.server).send(revoke) { _ in }
        self.cluster.clock.advance(by: .seconds(1))
        await self.work.untilCanceled()
        #expect(await call.value.cancellation == .revoked(by: "ops", reason: "stuck"))
        await self.cluster.expectNothingLeft(a)
    }

    @Test(
        "a leader that asks for another lease hands it back on a shutdown, and when its last caller leaves",
        arguments: [false, true],
        [false, true]
    )
    func handsBack(isShutDown: Bool, isAnswerLost: Bool) async throws {
        let a = try self.cluster.process("a", Self.leadsAgain)
        let call = a.call(self.work)
        await self.untilLeading()
        self.cluster.server.loseEverything()
        let gate = RequestGate()
        a.store.onRequest { operation in
            guard operation == .enter else { return .none }
            return isAnswerLost ? .replyLost(.cutOff) : .requestHeld(gate)
        }
        self.cluster.clock.advance(by: .seconds(1))
        if isAnswerLost {
            await self.cluster.server.untilLease(of: self.cluster.key, isHeld: true)
        } else {
            await gate.untilHeld()
        }
        if isShutDown {
            a.store.shutDown()
            #expect(await call.value.cancellation == .leaderShutDown)
        } else {
            call.cancel()
            #expect(await call.value.cancellation == .callerCanceled)
        }
        await self.work.untilCanceled()
        gate.open()
        // At once: the lease does not run out.
        await self.cluster.server.untilLease(of: self.cluster.key, isHeld: false)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    // MARK: - Followers

    @Test("a follower that cannot ask for a command timeout runs its operation, or fails, and so does who joined it")
    func followerCannotAsk() async throws {
        let (a, b) = (try self.cluster.process("a", Self.leadsAgain), try self.cluster.process("b", Self.leadsAgain))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        let joined = await self.joined(b, .runLocally)
        let failing = await self.joined(b, .fail)
        b.cutOff()
        b.store.interruptInbox()
        self.cluster.clock.advance(by: .milliseconds(150))
        await self.other.untilStarted()
        self.other.finish(.success("b's own"))
        for call in [follower, joined] {
            let completion = try await call.value.completion()
            #expect(try completion.result.get() == "b's own")
            #expect(completion.coordination == .degraded)
        }
        let failed = try await failing.value.completion().result
        #expect(#expect(throws: DistributedGroupError.self) { try failed.get() }?.code == .unavailable)
        self.work.finish(.success("a's"))
        #expect(try await leader.value.completion().result.get() == "a's")
        #expect(self.cluster.clock.now.sinceOrigin == .milliseconds(150))
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a follower that is alone with a lost flight runs its operation itself")
    func followerBeginsAnew() async throws {
        let (a, b) = (try self.cluster.process("a", Self.leadsAgain), try self.cluster.process("b", Self.leadsAgain))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        a.cutOff()
        self.cluster.server.loseEverything()
        self.resume(b)
        #expect(self.other.starts == 0)
        self.cluster.clock.advance(by: .milliseconds(600))
        await self.other.untilStarted()
        self.other.finish(.success("b's"))
        #expect(try await follower.value.completion().result.get() == "b's")
        self.work.finish(.success("a's"))
        let advancing = self.advancing()
        #expect(try await leader.value.completion().result.get() == "a's")
        await advancing()
        a.cutOff([])
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a, b)
    }

    /// A call that has joined its flight when this returns.
    private func joined(_ process: Process, _ unavailable: UnavailablePolicy) async -> Task<Outcome<String>, Never> {
        let timers = self.cluster.clock.timerCount
        let (group, work) = (process.group, self.other)
        let task = Task {
            await group.run("key", waitingAtMost: .seconds(3000), unavailable: unavailable) { try await work.run($0) }
        }
        await self.cluster.clock.untilScheduled(timers + 1)
        return task
    }

    /// Time goes by until the answer is called.
    private func advancing() -> () async -> Void {
        let clock = self.cluster.clock
        let task = Task {
            while !Task.isCancelled {
                clock.advance(by: .milliseconds(10))
                await Task.yield()
            }
        }
        return {
            task.cancel()
            await task.value
        }
    }
}
