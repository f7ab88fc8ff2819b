import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

@Suite("Following a flight without ever leading", .timeLimit(.minutes(4)))
struct FollowTests {
    private static let takesOver = DistributedGroupConfiguration.test { $0.lease.leaderLoss = .takeOver(attempts: 2) }

    let cluster: Cluster
    let work = Work()
    let other = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    private func follow(_ process: Process, atMost limit: Duration? = nil) -> Task<Outcome<String>, Never> {
        let group = process.group
        return Task.atOnce { await group.follow("key", waitingAtMost: limit) }
    }

    /// Counts the requests of a process.
    private func requests(of process: Process) -> Requests {
        let requests = Requests()
        process.store.onRequest { operation in
            requests.add(operation)
            return .none
        }
        return requests
    }

    @Test("where nobody leads, the answer is that there is no flight, and nothing is begun or left behind")
    func noFlight() async throws {
        let a = try self.cluster.process("a")
        let requests = self.requests(of: a)
        #expect(await self.follow(a).value.cancellation == .noFlight)
        #expect(requests.all == [.inspect])
        #expect(self.cluster.server.isEmpty)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a result that is kept for reuse is no flight")
    func keptResult() async throws {
        let a = try self.cluster.process("a", .test { $0.results.reuse = .seconds(2) })
        self.work.finish()
        _ = await a.call(self.work).value
        #expect(await self.follow(a).value.cancellation == .noFlight)
    }

    @Test("a follower gets the outcome of the flight in another process, which counts it among its waiters")
    func follows() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = self.follow(b)
        await self.cluster.untilFollowed(by: 1)
        self.work.finish(.success("found"))
        let completion = try await follower.value.completion()
        #expect(try completion.result.get() == "found")
        #expect(completion.role == .follower)
        #expect(completion.source == .remote)
        #expect(try await leader.value.completion().isShared)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("all followers of a process share one question, and each of them can leave by itself")
    func shared() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let requests = self.requests(of: b)
        let followers = (0..<5).map { _ in self.follow(b) }
        await self.cluster.untilFollowed(by: 1)
        followers[0].cancel()
        #expect(await followers[0].value.cancellation == .callerCanceled)
        self.work.finish()
        for follower in followers.dropFirst() {
            #expect(try await follower.value.completion().result.get() == "value")
        }
        #expect(requests.all == [.inspect, .poll])
        _ = await leader.value
    }

    @Test("a flight that this process leads is joined, and the store is not asked")
    func joinsOwn() async throws {
        let a = try self.cluster.process("a")
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let requests = self.requests(of: a)
        let follower = self.follow(a)
        leader.cancel()
        #expect(await leader.value.cancellation == .callerCanceled)
        #expect(requests.all == [], "the work goes on for the follower")
        self.work.finish()
        let completion = try await follower.value.completion()
        #expect(completion.role == .subscriber)
        #expect(self.work.cancellations == 0)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a caller with an operation is not held up by a follower that finds no flight")
    func besideACaller() async throws {
        let a = try self.cluster.process("a")
        let gate = RequestGate()
        a.store.onRequest { $0 == .inspect ? .replyHeld(gate) : .none }
        let follower = self.follow(a)
        await gate.untilHeld()
        self.work.finish()
        #expect(try await a.call(self.work).value.completion().role == .leader)
        gate.open()
        #expect(await follower.value.cancellation == .noFlight)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a process that looks for a flight is no reason to keep it among the waiters of one that its caller left")
    func looksWithoutWaiting() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let caller = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        // The follower joins the flight of its own process, and goes with it.
        let joined = self.follow(b)
        let gate = RequestGate()
        b.store.onRequest { $0 == .inspect ? .requestHeld(gate) : .none }
        for call in [caller, joined] { call.cancel() }
        for call in [caller, joined] { #expect(await call.value.cancellation == .callerCanceled) }
        let looking = self.follow(b)
        await gate.untilHeld()
        looking.cancel()
        _ = await looking.value
        await self.cluster.server.untilWaiters(of: self.cluster.key, 0)
        gate.open()
        self.work.finish()
        _ = await leader.value
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a follower waits for the process that takes over, and takes no part in it")
    func takeover() async throws {
        let (a, b) = (try self.cluster.process("a", Self.takesOver), try self.cluster.process("b", Self.takesOver))
        let c = try self.cluster.process("c", Self.takesOver)
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let (follower, caller) = (self.follow(b), c.call(self.other))
        await self.cluster.untilFollowed(by: 2)
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(3400))
        _ = await leader.value
        await self.other.untilStarted()
        self.other.finish(.success("second"))
        let completion = try await follower.value.completion()
        #expect(try completion.result.get() == "second")
        #expect(completion.role == .follower)
        #expect(try await caller.value.completion().role == .leader)
        await self.cluster.expectNothingLeft(b, c)
    }

    @Test("under takeOver a follower never ends a lost leader's flight: a caller that comes later still takes over")
    func neverEnds() async throws {
        let (a, b) = (try self.cluster.process("a", Self.takesOver), try self.cluster.process("b", Self.takesOver))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = self.follow(b)
        await self.cluster.untilFollowed(by: 1)
        a.cutOff()
        // Almost to the end of the grace.
        self.cluster.clock.advance(by: .milliseconds(4900))
        _ = await leader.value
        let c = try self.cluster.process("c", Self.takesOver)
        self.other.finish(.success("second"))
        let caller = try await c.call(self.other).value.completion()
        #expect(caller.attempts == 2)
        #expect(try await follower.value.completion().result.get() == "second")
        await self.cluster.expectNothingLeft(b, c)
    }

    @Test("if nobody takes over, a follower is told that the lease expired once the store forgets the flight")
    func nobodyTakesOver() async throws {
        let (a, b) = (try self.cluster.process("a", Self.takesOver), try self.cluster.process("b", Self.takesOver))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = self.follow(b)
        await self.cluster.untilFollowed(by: 1)
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(5100))
        _ = await leader.value
        #expect(await follower.value.cancellation == .leaseExpired)
        await self.cluster.expectNothingLeft(b)
    }

    @Test("under cancel a follower is told at the lease's end")
    func leaderLost() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = self.follow(b)
        await self.cluster.untilFollowed(by: 1)
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(3301))
        #expect(await follower.value.cancellation == .leaseExpired)
        _ = await leader.value
        await self.cluster.expectNothingLeft(b)
    }

    @Test("a follower that waited as long as it wanted to leaves, and the leader that has no caller left hears of it")
    func limit() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = self.follow(b, atMost: .milliseconds(500))
        await self.cluster.untilFollowed(by: 1)
        leader.cancel()
        _ = await leader.value
        #expect(self.work.cancellations == 0)
        self.cluster.clock.advance(by: .milliseconds(500))
        #expect(await follower.value.cancellation == .waitLimitReached)
        await self.work.untilCanceled()
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("where the store cannot be asked that is said, and not that there is no flight", arguments: [true, false])
    func unavailable(isTransient: Bool) async throws {
        let a = try self.cluster.process("a")
        let error = isTransient ? LeaseStoreError.cutOff : LeaseStoreError(.refused, "no such permission")
        a.store.onRequest { _ in .requestLost(error) }
        let follower = self.follow(a)
        self.cluster.clock.advance(by: .milliseconds(101))
        let completion = try await follower.value.completion()
        let thrown = #expect(throws: DistributedGroupError.self) { try completion.result.get() }
        #expect(thrown?.code == (isTransient ? .unavailable : .refused))
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a question that gets lost is asked again")
    func repeated() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        b.cutOff([.inspect])
        let follower = self.follow(b)
        b.store.onRequest { _ in .none }
        self.cluster.clock.advance(by: .milliseconds(20))
        await self.cluster.untilFollowed(by: 1)
        self.work.finish()
        #expect(try await follower.value.completion().result.get() == "value")
        _ = await leader.value
    }

    @Test("a follower is told when its process shuts down")
    func shutDown() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = self.follow(b)
        await self.cluster.untilFollowed(by: 1)
        b.store.shutDown()
        #expect(await follower.value.cancellation == .leaderShutDown)
        self.work.finish()
        _ = await leader.value
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a group that only observes has no flights to follow, and asks nothing")
    func observing() async throws {
        let a = try self.cluster.process("a", .test { $0.mode = .observe })
        let requests = self.requests(of: a)
        #expect(await self.follow(a).value.cancellation == .noFlight)
        #expect(requests.all == [])
    }
}

/// The kinds of requests that a process sent, in order.
private final class Requests: Sendable {
    private let state = Mutex<[InMemoryLeaseStore.Operation]>([])

    var all: [InMemoryLeaseStore.Operation] { self.state.withLock { $0 } }

    func add(_ operation: InMemoryLeaseStore.Operation) {
        self.state.withLock { $0.append(operation) }
    }
}
