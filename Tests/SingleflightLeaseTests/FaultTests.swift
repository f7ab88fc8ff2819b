import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

@Suite("A store that fails", .timeLimit(.minutes(4)))
struct FaultTests {
    let cluster: Cluster
    let work = Work()
    let other = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    @Test(
        "where the store cannot be asked the operation runs in the caller's process, which is told that it was degraded"
    )
    func runLocally() async throws {
        let a = try self.cluster.process("a")
        a.cutOff()
        let first = a.call(self.work)
        await self.cluster.clock.untilScheduled()
        self.cluster.clock.advance(by: .milliseconds(100))
        await self.work.untilStarted()
        self.work.finish(.success("alone"))
        let completion = try await first.value.completion()
        #expect(try completion.result.get() == "alone")
        #expect(completion.coordination == .degraded)
        #expect(completion.token == nil)
        #expect(self.work.starts == 1)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    /// Without a lease nothing else would end it: its callers waited for ever.
    @Test("an operation that hangs without a store is canceled in the end, and everybody gets the error")
    func hangsWithoutLease() async throws {
        let a = try self.cluster.process("a", .test { $0.limits.flight = .seconds(10) })
        a.cutOff()
        let call = a.call(self.work)
        await self.cluster.clock.untilScheduled()
        self.cluster.clock.advance(by: .milliseconds(100))
        await self.work.untilStarted()
        self.cluster.clock.advance(by: .seconds(10))
        await self.work.untilCanceled()
        let completion = try await call.value.completion()
        #expect(completion.coordination == .degraded)
        #expect(
            #expect(throws: DistributedGroupError.self) { try completion.result.get() }?.code == .flightTooLong
        )
        await self.cluster.expectNothingLeft(a)
    }

    @Test("callers in one process that cannot ask the store share one run")
    func runLocallyShared() async throws {
        let (a, clock) = (try self.cluster.process("a"), self.cluster.clock)
        a.store.onRequest { $0 == .enter ? .requestLost(LeaseStoreError(.protocolViolation, "no lease store")) : .none }
        var calls: [Task<Outcome<String>, Never>] = []
        for _ in 0..<3 {
            calls.append(await a.joinedCall(self.work, clock: clock))
        }
        // Each call schedules the end of its wait twice: for the flight, which fails at once, and for the run in its
        // process, which has a longest time of its own.
        await clock.untilScheduled(inAll: 2 * calls.count + 1)
        self.work.finish(.success("alone"))
        var roles: [FlightRole] = []
        for call in calls {
            let completion = try await call.value.completion()
            #expect(try completion.result.get() == "alone")
            #expect(completion.coordination == .degraded)
            #expect(completion.isShared)
            roles.append(completion.role)
        }
        #expect(roles.count { $0 == .leader } == 1)
        #expect(self.work.starts == 1)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a call can ask to fail instead, and does within the command timeout")
    func failPerCall() async throws {
        let a = try self.cluster.process("a")
        a.cutOff()
        let call = a.call(self.work, unavailable: .fail)
        await self.cluster.clock.untilScheduled()
        self.cluster.clock.advance(by: .milliseconds(100))
        let result = try await call.value.completion().result
        #expect(#expect(throws: DistributedGroupError.self) { try result.get() }?.code == .unavailable)
        #expect(self.work.starts == 0)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    struct Loss: Sendable, CustomTestStringConvertible {
        var operation: InMemoryLeaseStore.Operation
        var isReplyLost: Bool
        var isLeader: Bool
        var testDescription: String {
            "\(self.isReplyLost ? "reply" : "request") of \(self.operation) lost, \(self.isLeader ? "leader" : "follower")"
        }

        static let all = [true, false].flatMap { isLeader in
            [true, false].flatMap { isReplyLost in
                (isLeader ? [.enter, .renew, .complete] : [.enter, .poll]).map {
                    Loss(operation: $0, isReplyLost: isReplyLost, isLeader: isLeader)
                }
            }
        }
    }

    @Test("one lost request or reply changes no result and leaves nothing behind", arguments: Loss.all)
    func oneLoss(_ loss: Loss) async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let count = CountDown(1)
        let victim = loss.isLeader ? a : b
        victim.store.onRequest { operation in
            guard operation == loss.operation, count.take() else { return .none }
            return loss.isReplyLost ? .replyLost(.cutOff) : .requestLost(.cutOff)
        }
        let clock = self.cluster.clock
        let leader = a.call(self.work)
        if loss.isLeader, loss.operation == .enter {
            await clock.untilScheduled()
            clock.advance(by: .milliseconds(20))
        }
        await self.work.untilStarted()
        let follower = b.call(self.other)
        if !loss.isLeader, loss.operation == .enter {
            await clock.untilScheduled(2)
            clock.advance(by: .milliseconds(20))
        }
        await self.cluster.untilFollowed(by: 1)
        clock.advance(by: .milliseconds(3500))
        #expect(self.work.flight?.isCurrent == true)
        self.work.finish(.success("value"))
        if loss.isLeader, loss.operation == .complete {
            // The repetition waits for its time, which moves on until the callers have their outcomes.
            await count.untilTaken()
        }
        let advancing = Task {
            while !Task.isCancelled {
                clock.advance(by: .milliseconds(10))
                await Task.yield()
            }
        }
        for call in [leader, follower] {
            let completion = try await call.value.completion()
            #expect(try completion.result.get() == "value")
            #expect(completion.coordination == .coordinated)
        }
        advancing.cancel()
        await advancing.value
        #expect(self.work.starts == 1)
        #expect(self.other.starts == 0)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a release or a leave that is lost delays the end, but leaves nothing behind", arguments: [true, false])
    func leaveLost(isReplyLost: Bool) async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        for process in [a, b] {
            process.store.onRequest { operation in
                guard operation == .leave || operation == .release else { return .none }
                return isReplyLost ? .replyLost(.cutOff) : .requestLost(.cutOff)
            }
        }
        let leader = a.call(self.work)
        await self.work.untilStarted()
        let follower = b.call(self.other)
        await self.cluster.untilFollowed(by: 1)
        follower.cancel()
        #expect(await follower.value.cancellation == .callerCanceled)
        await b.store.untilIdle()
        self.work.finish()
        #expect(try await leader.value.completion().result.get() == "value")
        await self.cluster.expectNothingLeft(a, b)
    }
}

/// Says yes a number of times.
final class CountDown: Sendable {
    private let state: Mutex<(left: Int, waiters: [Waiter])>

    init(_ count: Int) {
        self.state = Mutex((count, []))
    }

    func take() -> Bool {
        let (taken, waiters) = self.state.withLock { state in
            guard state.left > 0 else { return (false, [Waiter]()) }
            state.left -= 1
            guard state.left == 0 else { return (true, []) }
            defer { state.waiters = [] }
            return (true, state.waiters)
        }
        for waiter in waiters {
            waiter.resume()
        }
        return taken
    }

    func untilTaken(sourceLocation: SourceLocation = #_sourceLocation) async {
        await suspended(at: sourceLocation) {
            "the last of what is counted; \(self.state.withLock { $0.left }) are left"
        } until: { waiter in
            let isTaken = self.state.withLock { state in
                if state.left == 0 { return true }
                state.waiters.append(waiter)
                return false
            }
            if isTaken {
                waiter.resume()
            }
        }
    }
}
