import SingleflightLease
import SingleflightTestKit
import Testing

@Suite("Losing the leader", .timeLimit(.minutes(4)))
struct LeaderLossTests {
    let cluster: Cluster
    let work = Work()
    let other = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    @Test("when a leader falls silent, every follower is told once that the lease expired, and nobody runs again")
    func silentLeader() async throws {
        let a = try self.cluster.process("a")
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let followers = try (0..<3).map { try self.cluster.process("follower \($0)") }
        let calls = followers.map { $0.call(self.other) }
        await self.cluster.untilFollowed(by: 3)
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(3301))
        for call in calls {
            #expect(await call.value.cancellation == .leaseExpired)
        }
        #expect(await leader.value.cancellation == .leaseExpired)
        #expect(self.other.starts == 0)
        await self.work.untilCanceled()
        for follower in followers {
            await self.cluster.expectNothingLeft(follower)
        }
    }

    @Test("under takeOver exactly one follower of a silent leader leads on, and the others get its value")
    func takeover() async throws {
        let configuration = DistributedGroupConfiguration.test { $0.lease.leaderLoss = .takeOver(attempts: 2) }
        let a = try self.cluster.process("a", configuration)
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let followers = try (0..<4).map { try self.cluster.process("follower \($0)", configuration) }
        let calls = followers.map { $0.call(self.other) }
        await self.cluster.untilFollowed(by: 4)
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(3400))
        _ = await leader.value
        await self.other.untilStarted()
        self.other.finish(.success("second"))
        var roles: [FlightRole] = []
        for call in calls {
            let completion = try await call.value.completion()
            #expect(try completion.result.get() == "second")
            #expect(completion.attempts == 2)
            roles.append(completion.role)
        }
        #expect(roles.count { $0 == .leader } == 1)
        #expect(self.other.starts == 1)
        for follower in followers {
            await self.cluster.expectNothingLeft(follower)
        }
    }

    @Test("when leaders were lost as often as the group allows, the followers are told so")
    func takeoversExhausted() async throws {
        let configuration = DistributedGroupConfiguration.test { $0.lease.leaderLoss = .takeOver(attempts: 1) }
        let processes = try ["a", "b", "c"].map { try self.cluster.process($0, configuration) }
        let first = processes[0].call(self.work)
        await self.work.untilStarted()
        let calls = processes[1...].map { $0.call(self.other) }
        await self.cluster.untilFollowed(by: 2)
        processes[0].cutOff()
        self.cluster.clock.advance(by: .milliseconds(3400))
        _ = await first.value
        await self.other.untilStarted()
        for process in processes {
            process.cutOff([.renew, .complete])
        }
        self.cluster.clock.advance(by: .milliseconds(3800))
        var reasons: [Cancellation?] = []
        for call in calls {
            reasons.append(await call.value.cancellation)
        }
        #expect(Set(reasons) == [.leaseExpired, .supersededTooOften], "the second leader, and its follower")
        #expect(self.other.starts == 1)
    }

    @Test("a leader whose lease was given away is canceled at its next renewal")
    func renewalAnsweredLost() async throws {
        let a = try self.cluster.process("a")
        let call = a.call(self.work)
        await self.work.untilStarted()
        self.cluster.server.loseEverything()
        #expect(self.work.flight?.isCurrent == true)
        self.cluster.clock.advance(by: .seconds(1))
        await self.work.untilCanceled()
        #expect(self.work.flight?.isCurrent == false)
        #expect(await call.value.cancellation == .leaseLost)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a leader that cannot renew is canceled at its deadline, before the lease ends in the store")
    func deadline() async throws {
        let a = try self.cluster.process("a")
        let call = a.call(self.work)
        await self.work.untilStarted()
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(2849))
        #expect(self.work.flight?.isCurrent == true)
        #expect(self.work.cancellations == 0)
        self.cluster.clock.advance(by: .milliseconds(1))
        #expect(self.work.flight?.isCurrent == false)
        await self.work.untilCanceled()
        #expect(await call.value.cancellation == .leaseExpired)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a renewal that fails is repeated, and the lease survives an outage shorter than itself")
    func transientOutage() async throws {
        let a = try self.cluster.process("a")
        let call = a.call(self.work)
        await self.work.untilStarted()
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(2500))
        a.cutOff([])
        self.cluster.clock.advance(by: .seconds(30))
        #expect(self.work.flight?.isCurrent == true)
        self.work.finish()
        #expect(try await call.value.completion().result.get() == "value")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a completion under a lease that is lost is refused, and the callers are told so after the verdict")
    func staleCompletion() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let gate = RequestGate()
        let stale = a.call(self.work)
        await self.work.untilStarted()
        a.store.onRequest { $0 == .complete ? .requestHeld(gate) : .none }
        self.work.finish(.success("stale"))
        await gate.untilHeld()
        self.cluster.clock.advance(by: .milliseconds(3100))
        let fresh = b.call(self.other)
        await self.other.untilStarted()
        gate.open()
        #expect(await stale.value.cancellation == .leaseLost)
        #expect(self.other.flight?.isCurrent == true)
        self.other.finish(.success("fresh"))
        #expect(try await fresh.value.completion().result.get() == "fresh")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a third process's revocation tells the leader and the waiters who did it and why")
    func revocation() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let calls = [a.call(self.work)]
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        let third = InMemoryLeaseStore(server: self.cluster.server)
        third.send(
            RevokeRequest(key: self.cluster.key, token: nil, by: "ops", reason: "stuck")
        ) { _ in }
        await self.work.untilCanceled()
        for call in calls + [follower] {
            #expect(await call.value.cancellation == .revoked(by: "ops", reason: "stuck"))
        }
        #expect(self.other.starts == 0)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test(
        "a process that shuts down hands its lease back at once, and its followers are told",
        arguments: [false, true]
    )
    func shutDown(takesOver: Bool) async throws {
        let configuration = DistributedGroupConfiguration.test {
            $0.lease.leaderLoss = takesOver ? .takeOver(attempts: 1) : .cancel
        }
        let a = try self.cluster.process("a", configuration)
        let b = try self.cluster.process("b", configuration)
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        self.other.finish(.success("taken over"))
        a.store.shutDown()
        #expect(await leader.value.cancellation == .leaderShutDown)
        await self.work.untilCanceled()
        let outcome = await follower.value
        if takesOver {
            #expect(try outcome.completion().result.get() == "taken over")
        } else {
            #expect(outcome.cancellation == .leaderShutDown)
        }
        #expect(self.cluster.clock.now.sinceOrigin == .zero)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("an operation that runs longer than a flight may is canceled, and everybody gets the error")
    func maximumFlight() async throws {
        let configuration = DistributedGroupConfiguration.test { $0.limits.flight = .seconds(10) }
        let a = try self.cluster.process("a", configuration)
        let b = try self.cluster.process("b")
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        self.cluster.clock.advance(by: .seconds(10))
        await self.work.untilCanceled()
        for call in [leader, follower] {
            let result = try await call.value.completion().result
            #expect(#expect(throws: DistributedGroupError.self) { try result.get() }?.code == .flightTooLong)
        }
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a flight is taken over as its first leader asked, by a process that would have canceled it, and only then")
    func mixedPolicies() async throws {
        let takeOver = DistributedGroupConfiguration.test { $0.lease.leaderLoss = .takeOver(attempts: 1) }
        for (leads, waits, isTakenOver) in [(takeOver, .test, true), (.test, takeOver, false)]
            as [(DistributedGroupConfiguration, DistributedGroupConfiguration, Bool)]
        {
            let cluster = try Cluster()
            let (a, b) = (try cluster.process("a", leads), try cluster.process("b", waits))
            let (work, other) = (Work(), Work())
            let lost = a.call(work)
            await work.untilStarted()
            let follower = b.call(other)
            await cluster.untilFollowed(by: 1)
            a.cutOff()
            cluster.clock.advance(by: .milliseconds(3400))
            _ = await lost.value
            if isTakenOver {
                await other.untilStarted()
                other.finish(.success("second"))
                #expect(try await follower.value.completion().result.get() == "second")
            } else {
                #expect(await follower.value.cancellation == .leaseExpired)
                #expect(other.starts == 0)
            }
        }
    }
}
