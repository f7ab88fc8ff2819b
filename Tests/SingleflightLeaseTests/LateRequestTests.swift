import SingleflightTestKit
import Testing

@testable import SingleflightLease

@Suite("Requests that are carried out late, or without our knowing", .timeLimit(.minutes(4)))
struct LateRequestTests {
    let cluster: Cluster
    let work = Work()
    let other = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    static let takeOver = DistributedGroupConfiguration.test { $0.lease.leaderLoss = .takeOver(attempts: 2) }

    private func inspect(_ process: Process) async throws -> LeaseInspection {
        let key = self.cluster.key
        return try await process.store.answer(to: InspectRequest(key: key)).get()
    }

    @Test("a follower that wanted to take over does not run again if another did and completed before its request came")
    func takenOverAndCompletedMeanwhile() async throws {
        let processes = try ["a", "b", "c"].map { try self.cluster.process($0, Self.takeOver) }
        let (a, b, c) = (processes[0], processes[1], processes[2])
        let lost = a.call(Work())
        await self.cluster.server.untilLease(of: self.cluster.key, isHeld: true)
        self.work.finish(.success("a second run"))
        let late = b.call(self.work)
        let next = c.call(self.other)
        await self.cluster.untilFollowed(by: 2)
        a.cutOff()
        let (entering, polling) = (RequestGate(), RequestGate())
        b.store.onRequest { $0 == .enter ? .requestHeld(entering) : .none }
        c.store.onRequest { $0 == .poll ? .requestHeld(polling) : .none }
        self.cluster.clock.advance(by: .milliseconds(3400))
        _ = await lost.value
        await entering.untilHeld()
        polling.open()
        await self.other.untilStarted()
        self.other.finish(.success("second"))
        #expect(try await next.value.completion().result.get() == "second")
        entering.open()
        let completion = try await late.value.completion()
        #expect(try completion.result.get() == "second")
        #expect(completion.role == .follower)
        #expect(completion.attempts == 2)
        #expect(self.work.starts == 0)
        await self.cluster.expectNothingLeft(b, c)
    }

    @Test(
        "a lease that led nobody cancels nobody when it is given back: what joined it begins anew",
        arguments: [DistributedGroupConfiguration.test, Self.takeOver]
    )
    func joinedUnusedLease(_ configuration: DistributedGroupConfiguration) async throws {
        let (a, b) = (try self.cluster.process("a", configuration), try self.cluster.process("b", configuration))
        let answer = RequestGate()
        a.store.onRequest { $0 == .enter ? .replyHeld(answer) : .none }
        let first = a.call(self.work)
        await self.cluster.server.untilLease(of: self.cluster.key, isHeld: true)
        let second = b.call(self.other)
        await self.cluster.server.untilWaiters(of: self.cluster.key, 1)
        a.store.shutDown()
        #expect(await first.value.cancellation == .leaderShutDown)
        await self.other.untilStarted()
        self.other.finish(.success("anew"))
        #expect(try await second.value.completion().result.get() == "anew")
        answer.open()
        #expect(self.work.starts == 0)
        await self.cluster.expectNothingLeft(a, b)
    }

    /// It took over from the other latecomer, which handed its lease back, and ran once more: of two hundred processes
    /// on a dead leader's key two ran the operation now and then.
    @Test("nor if it finds the lease of another that came too late as well")
    func twoLate() async throws {
        let processes = try ["a", "b", "c", "d"].map { try self.cluster.process($0, Self.takeOver) }
        let (a, b, c, d) = (processes[0], processes[1], processes[2], processes[3])
        let lost = a.call(Work())
        await self.cluster.server.untilLease(of: self.cluster.key, isHeld: true)
        self.work.finish(.success("a second run"))
        let next = b.call(self.other)
        let late = [c.call(self.work), d.call(self.work)]
        await self.cluster.untilFollowed(by: 3)
        a.cutOff()
        let gates = (poll: RequestGate(), enterC: RequestGate(), confirm: RequestGate(), expiredD: RequestGate())
        b.store.onRequest { $0 == .poll ? .requestHeld(gates.poll) : .none }
        c.store.onRequest { $0 == .enter ? .requestHeld(gates.enterC) : .none }
        // Its request to lead must not be late as well, which is told by its answer.
        d.store.onRequest { $0 == .poll ? .replyHeld(gates.expiredD) : .none }
        self.cluster.clock.advance(by: .milliseconds(3400))
        _ = await lost.value
        await gates.enterC.untilHeld()
        await gates.expiredD.untilHeld()
        gates.poll.open()
        await self.other.untilStarted()
        self.other.finish(.success("second"))
        #expect(try await next.value.completion().result.get() == "second")

        // The lease is free: one gets it, and before it knows that it came too late the other finds it.
        c.store.onRequest { $0 == .poll ? .requestHeld(gates.confirm) : .none }
        gates.enterC.open()
        await gates.confirm.untilHeld()
        gates.expiredD.open()
        gates.confirm.open()
        for call in late {
            let completion = try await call.value.completion()
            #expect(try completion.result.get() == "second")
            #expect(completion.role == .follower)
        }
        #expect(self.work.starts == 0)
        await self.cluster.expectNothingLeft(b, c, d)
    }

    @Test(
        "a follower that is about to take over is settled by the announcement that its flight was completed after all"
    )
    func completedMeanwhile() async throws {
        let (a, b) = (try self.cluster.process("a", Self.takeOver), try self.cluster.process("b", Self.takeOver))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        let (completing, entering) = (RequestGate(), RequestGate())
        a.store.onRequest { $0 == .complete ? .requestHeld(completing) : .none }
        b.store.onRequest { $0 == .enter ? .requestHeld(entering) : .none }
        self.work.finish(.success("late"))
        await completing.untilHeld()
        self.cluster.clock.advance(by: .milliseconds(3400))
        await entering.untilHeld()
        completing.open()
        #expect(try await leader.value.completion().result.get() == "late")
        #expect(try await follower.value.completion().result.get() == "late")
        entering.open()
        #expect(try await self.inspect(a).lease == nil, "the lease that came too late is handed back")
        #expect(self.other.starts == 0)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a process that gives up entering is not left among the waiters that it was put on without its knowing")
    func followedUnknowingly() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        b.store.onRequest { $0 == .enter ? .replyLost(.cutOff) : .none }
        let call = b.call(self.other, unavailable: .fail)
        await self.cluster.untilFollowed(by: 1)
        await self.cluster.clock.untilScheduled(2)
        self.cluster.clock.advance(by: .milliseconds(100))
        let result = try await call.value.completion().result
        #expect(#expect(throws: DistributedGroupError.self) { try result.get() }?.code == .unavailable)
        #expect(try await self.inspect(a).waiters == [])
        self.work.finish()
        #expect(try await leader.value.completion().isShared == false)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a caller waits one command timeout for the lease, though a repetition of the request is not answered")
    func repetitionUnanswered() async throws {
        let a = try self.cluster.process("a")
        let (count, gate) = (CountDown(1), RequestGate())
        a.store.onRequest { operation in
            guard operation == .enter else { return .none }
            return count.take() ? .requestLost(.cutOff) : .requestHeld(gate)
        }
        let call = a.call(self.work, unavailable: .fail)
        await self.cluster.clock.untilScheduled()
        self.cluster.clock.advance(by: .milliseconds(20))
        await gate.untilHeld()
        self.cluster.clock.advance(by: .milliseconds(79))
        #expect(a.store.listeningKeyCount == 1)
        self.cluster.clock.advance(by: .milliseconds(1))
        let result = try await call.value.completion().result
        #expect(#expect(throws: DistributedGroupError.self) { try result.get() }?.code == .unavailable)
        gate.open()
        #expect(try await self.inspect(a).lease == nil, "the lease that came too late is handed back")
        #expect(self.work.starts == 0)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a lease that is granted after the last caller left is handed back, and nothing runs")
    func grantedToNobody() async throws {
        let a = try self.cluster.process("a")
        let gate = RequestGate()
        a.store.onRequest { $0 == .enter ? .requestHeld(gate) : .none }
        let call = a.call(self.work)
        await gate.untilHeld()
        call.cancel()
        #expect(await call.value.cancellation == .callerCanceled)
        gate.open()
        await a.store.untilIdle()
        #expect(try await self.inspect(a).lease == nil)
        #expect(self.work.starts == 0)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("an encoded error of the greatest size crosses as itself, and a longer one as a remote failure")
    func boundedFailure() throws {
        let error = Failure(reason: String(repeating: "x", count: 100))
        let size = try JSONCodec<Failure>().encode(error).count
        var random = FlightRandom.seeded(1)
        let token = LeaseToken(using: &random)
        func crossed(maximum: Int) throws -> Result<String, any Error> {
            let coder = PayloadCoder(
                codec: JSONCodec<String>(),
                typedFailures: .codable(Failure.self),
                maximumResultBytes: maximum,
                label: "here"
            )
            guard case .failure(let bytes) = coder.encode(.failure(error)).outcome else { return .success("none") }
            return coder.decode(failure: bytes, token: token).result
        }
        #expect(throws: error) { try crossed(maximum: size).get() }
        #expect(throws: RemoteFailure.self) { try crossed(maximum: size - 1).get() }
    }
}
