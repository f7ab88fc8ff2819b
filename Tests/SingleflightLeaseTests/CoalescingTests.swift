import Singleflight
import SingleflightLease
import SingleflightTestKit
import Testing

@Suite("Coalescing across processes", .timeLimit(.minutes(4)))
struct CoalescingTests {
    let cluster: Cluster
    let work = Work()
    let other = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    @Test("one operation runs, and callers in both processes get its value, each told what it was")
    func oneOperation() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let subscriber = await a.joinedCall(self.other, clock: self.cluster.clock)
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        self.work.finish(.success("one"))

        let completions = [
            try await leader.value.completion(), try await subscriber.value.completion(),
            try await follower.value.completion(),
        ]
        #expect(try completions.map { try $0.result.get() } == ["one", "one", "one"])
        #expect(completions.map(\.role) == [.leader, .subscriber, .follower])
        #expect(completions.map(\.source) == [.thisProcess, .thisProcess, .remote])
        #expect(completions.map(\.isShared) == [true, true, true])
        #expect(completions.map(\.leader) == ["a", "a", "a"])
        #expect(completions.map(\.coordination) == [.coordinated, .coordinated, .coordinated])
        #expect(Set(completions.map(\.token)).count == 1)
        #expect(completions[0].token == self.work.flight?.token)
        #expect(self.work.starts == 1)
        #expect(self.other.starts == 0)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a caller without company is told that its result is not shared")
    func unshared() async throws {
        let a = try self.cluster.process("a")
        self.work.finish()
        let completion = try await a.call(self.work).value.completion()
        #expect(!completion.isShared)
        #expect(completion.role == .leader)
        await a.store.untilIdle()
        #expect(self.cluster.server.isEmpty, "a flight that nobody shared leaves nothing behind")
    }

    @Test("nothing of a flight listens any more when its caller is told")
    func letsGoFirst() async throws {
        let a = try self.cluster.process("a")
        self.work.finish()
        for _ in 0..<2_000 {
            _ = await a.call(self.work).value
            #expect(a.store.listeningKeyCount == 0)
        }
    }

    @Test("the call after a completion runs its own operation")
    func nextIsFresh() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        self.work.finish(.success("one"))
        self.other.finish(.success("two"))
        #expect(try await a.call(self.work).value.completion().result.get() == "one")
        #expect(try await b.call(self.other).value.completion().result.get() == "two")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("an error is the same remote failure for everybody, nobody runs again, and nothing of it is remembered")
    func errorsTravel() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        self.work.finish(.failure(Failure()))

        let local = try await leader.value.completion()
        let own = #expect(throws: RemoteFailure.self) { try local.result.get() }
        #expect(own?.original as? Failure == Failure(), "the leader's own process has the error itself")
        let remote = try await follower.value.completion()
        let failure = #expect(throws: RemoteFailure.self) { try remote.result.get() }
        #expect(failure == own)
        #expect(failure?.original == nil)
        #expect(failure?.leader == "a")
        #expect(failure?.token == local.token)
        #expect(failure?.type.hasSuffix("Failure") == true)
        #expect(failure?.message.contains("failed") == true)
        #expect(self.other.starts == 0)

        self.other.finish(.success("fresh"))
        #expect(try await b.call(self.other).value.completion().result.get() == "fresh")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("an error of a type that the group knows reaches everybody as itself")
    func typedErrorsTravel() async throws {
        let configuration = DistributedGroupConfiguration.test { $0.results.typedFailures = .codable(Failure.self) }
        let a = try self.cluster.process("a", configuration)
        let b = try self.cluster.process("b", configuration)
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        self.work.finish(.failure(Failure(reason: "typed")))
        for call in [leader, follower] {
            let completion = try await call.value.completion()
            #expect(throws: Failure(reason: "typed")) { try completion.result.get() }
        }
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a slow leader keeps its lease for many durations, and its followers wait on")
    func renewal() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        self.cluster.clock.advance(by: .seconds(60))
        #expect(self.work.flight?.isCurrent == true)
        self.work.finish(.success("late"))
        #expect(try await leader.value.completion().result.get() == "late")
        #expect(try await follower.value.completion().result.get() == "late")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("fences of a key increase from lease to lease, and none is drawn under a lost one")
    func fences() async throws {
        let a = try self.cluster.process("a")
        var fences: [Fence] = []
        for _ in 0..<3 {
            let work = Work()
            let call = a.call(work)
            await work.untilStarted()
            let flight = try #require(work.flight)
            fences.append(try await flight.fence())
            fences.append(try await flight.fence())
            work.finish()
            _ = await call.value
            await #expect(throws: Cancellation.leaseLost) { try await flight.fence() }
        }
        #expect(zip(fences, fences.dropFirst()).allSatisfy { $0 < $1 }, "\(fences)")
    }

    @Test("an announcement that overtakes the reply to enter is not lost", arguments: [false, true])
    func earlyAnnouncement(inboxHasGap: Bool) async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let gate = RequestGate()
        b.store.onRequest { $0 == .enter ? .replyHeld(gate) : .none }
        let follower = b.call(self.other)
        await gate.untilHeld()
        self.cluster.server.dropsAnnouncements = inboxHasGap
        self.work.finish(.success("early"))
        _ = await leader.value
        if inboxHasGap {
            b.store.resumeInbox()
        }
        gate.open()
        #expect(try await follower.value.completion().result.get() == "early")
        #expect(self.cluster.clock.now.sinceOrigin == .zero, "it had to wait for its next poll")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("every follower resolves within lease and jitter though every announcement is lost")
    func allAnnouncementsLost() async throws {
        self.cluster.server.dropsAnnouncements = true
        let a = try self.cluster.process("a")
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let followers = try (0..<5).map { try self.cluster.process("follower \($0)") }
        let calls = followers.map { $0.call(self.other) }
        await self.cluster.untilFollowed(by: 5)
        self.work.finish(.success("stored"))
        _ = await leader.value
        await a.store.untilIdle()
        // Lease and jitter are a tenth of the lease at most, and a millisecond.
        self.cluster.clock.advance(by: .milliseconds(3301))
        for call in calls {
            #expect(try await call.value.completion().result.get() == "stored")
        }
        for follower in followers {
            await self.cluster.expectNothingLeft(follower)
        }
        #expect(self.other.starts == 0)
    }

    @Test("a call waits no longer than it wants to, and leaves the flight to the others")
    func waitLimit() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let other = self.other
        let impatient = Task {
            await b.group.run("key", waitingAtMost: .milliseconds(500)) { try await other.run($0) }
        }
        await self.cluster.clock.untilScheduled(3)
        self.cluster.clock.advance(by: .milliseconds(500))
        #expect(await impatient.value.cancellation == .waitLimitReached)
        self.work.finish()
        #expect(try await leader.value.completion().result.get() == "value")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("an operation that asks its own group for its own key is refused at once")
    func reentrant() async throws {
        let a = try self.cluster.process("a")
        let outcome = await a.group.run("key") { _ in
            switch await a.group.run("key", operation: { _ in "inner" }) {
            case .canceled(let reason): (reason.underlying as? GroupError)?.code.description ?? "not refused"
            default: "not refused"
            }
        }
        #expect(try outcome.completion().result.get() == "reentrantCall")
        await self.cluster.expectNothingLeft(a)
    }

    @TaskLocal static var local = "default"

    @Test("the operation inherits the caller's task-locals and priority")
    func inheritance() async throws {
        let a = try self.cluster.process("a")
        let seen = try await Self.$local.withValue("bound") {
            try await Task(priority: .high) {
                try await a.group.value("key") { _ in "\(Self.local) \(Task.currentPriority == .high)" }
            }.value
        }
        // A high priority: a low one would be raised to that of this test, which waits.
        #expect(seen == "bound true")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("two groups on one store do not share the flights of equal keys")
    func groupsDoNotMix() async throws {
        let a = try self.cluster.process("a")
        let second = try DistributedGroup<String, String>("second", store: a.store, configuration: .test)
        let call = a.call(self.work)
        await self.work.untilStarted()
        #expect(try await second.value("key") { _ in "second" } == "second")
        self.work.finish(.success("first"))
        #expect(try await call.value.completion().result.get() == "first")
    }
}
