import SingleflightLease
import SingleflightTestKit
import Testing

@Suite("Callers that leave", .timeLimit(.minutes(4)))
struct AbandonmentTests {
    let cluster: Cluster
    let work = Work()
    let other = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    @Test("a process whose last caller left is no longer among the waiters, and the flight goes on")
    func followerLeaves() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        follower.cancel()
        #expect(await follower.value.cancellation == .callerCanceled)
        await self.cluster.server.untilWaiters(of: self.cluster.key, 0)
        self.work.finish()
        #expect(try await leader.value.completion().result.get() == "value")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a leader that nobody waits for is canceled, and its lease is released at once")
    func leaderAbandoned() async throws {
        let a = try self.cluster.process("a")
        let call = a.call(self.work)
        await self.work.untilStarted()
        call.cancel()
        #expect(await call.value.cancellation == .callerCanceled)
        await self.work.untilCanceled()
        await self.cluster.server.untilLease(of: self.cluster.key, isHeld: false)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a lease that may be released is in doubt, until the store says that it is held", arguments: [false, true])
    func inDoubt(isAnswerLost: Bool) async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let call = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        let gate = RequestGate()
        a.store.onRequest { operation in
            guard operation == .release else { return .none }
            return isAnswerLost ? .replyLost(.cutOff) : .replyHeld(gate)
        }
        #expect(self.work.flight?.isCurrent == true)
        call.cancel()
        _ = await call.value
        if !isAnswerLost { await gate.untilHeld() }
        #expect(self.work.flight?.isCurrent == false)
        if isAnswerLost { self.cluster.clock.advance(by: .seconds(1)) } else { gate.open() }
        #expect(self.work.flight?.isCurrent == true)
        #expect(self.work.cancellations == 0)
        self.work.finish()
        #expect(try await follower.value.completion().result.get() == "value")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("an abandoned leader works on for a process that waits, and is canceled when that one leaves")
    func lastRemoteWaiterLeaves() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let call = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        call.cancel()
        _ = await call.value
        self.cluster.clock.advance(by: .seconds(20))
        #expect(self.work.flight?.isCurrent == true)
        #expect(self.work.cancellations == 0)
        follower.cancel()
        _ = await follower.value
        await self.work.untilCanceled()
        #expect(self.cluster.clock.now.sinceOrigin == .seconds(20), "it was canceled without waiting for a renewal")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("an abandoned leader hears within a renewal interval that nobody waits, though the announcement is lost")
    func unawaitedAnnouncementLost() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let call = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        call.cancel()
        _ = await call.value
        self.cluster.server.dropsAnnouncements = true
        follower.cancel()
        _ = await follower.value
        await b.store.untilIdle()
        #expect(self.work.cancellations == 0)
        self.cluster.clock.advance(by: .seconds(1))
        await self.work.untilCanceled()
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("an abandoned leader stops within two renewals of the last waiter's death")
    func lastRemoteWaiterDies() async throws {
        let (a, b, c) = (try self.cluster.process("a"), try self.cluster.process("b"), try self.cluster.process("c"))
        let call = a.call(self.work)
        await self.work.untilStarted()
        let followers = [b.call(self.other), c.call(self.other)]
        await self.cluster.untilFollowed(by: 2)
        call.cancel()
        _ = await call.value
        b.store.die()
        self.cluster.clock.advance(by: .seconds(2))
        #expect(self.work.cancellations == 0, "somebody still lives")
        c.store.die()
        self.cluster.clock.advance(by: .seconds(2))
        await self.work.untilCanceled()
        await self.cluster.server.untilLease(of: self.cluster.key, isHeld: false)
        for follower in followers { follower.cancel() }
        for follower in followers { _ = await follower.value }
        await self.cluster.expectNothingLeft(a, b, c)
    }

    @Test("a waiter that was taken for dead enters again, and has a value")
    func liveWaiterTakenForDead() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let call = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        b.store.die()
        call.cancel()
        _ = await call.value
        await self.work.untilCanceled()
        // It asks when the lease should have ended, as whoever hears nothing.
        self.cluster.clock.advance(by: .seconds(4))
        await self.other.untilStarted()
        self.other.finish(.success("again"))
        #expect(try await follower.value.completion().result.get() == "again")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("the value of an abandoned leader reaches the process that waits")
    func abandonedLeaderCompletes() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let call = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        call.cancel()
        _ = await call.value
        self.work.finish(.success("for b"))
        #expect(try await follower.value.completion().result.get() == "for b")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a caller that comes after the abandonment follows its own process's flight")
    func newCallerFollowsOwnProcess() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let call = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        call.cancel()
        _ = await call.value
        let late = a.call(self.other)
        await self.cluster.untilFollowed(by: 2)
        self.work.finish(.success("shared"))
        for call in [follower, late] {
            let completion = try await call.value.completion()
            #expect(try completion.result.get() == "shared")
            #expect(completion.role == .follower)
        }
        #expect(self.other.starts == 0)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("an abandoned leader is canceled when the last waiter is its own process and leaves, too")
    func ownProcessLeavesLast() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let call = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        call.cancel()
        _ = await call.value
        let late = a.call(self.other)
        await self.cluster.untilFollowed(by: 2)
        follower.cancel()
        _ = await follower.value
        await self.cluster.untilFollowed(by: 1)
        late.cancel()
        _ = await late.value
        await self.work.untilCanceled()
        await self.cluster.expectNothingLeft(a, b)
    }
}
