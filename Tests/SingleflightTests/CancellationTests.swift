import TestSupport
import Testing

@testable import Singleflight

@Suite("Cancellation")
struct CancellationTests {
    let group = Group<String, Int>()

    @Test("a canceled first caller leaves at once, and the flight goes on for the others")
    func firstCallerIsCanceled() async {
        let group = self.group
        let gate = Gate()
        let operation: @Sendable () async throws -> Int = {
            await gate.wait()
            return Task.isCancelled ? -1 : 7
        }
        let first = Task.atOnce { await group.seen("key", nil, operation) }
        let second = Task.atOnce { await group.seen("key", nil, operation) }
        first.cancel()
        #expect(await first.value == .callerCanceled)
        gate.open()
        #expect(await second.value == .value(7, shared: false, .subscriber))
    }

    @Test("value throws CancellationError to a canceled caller")
    func valueThrowsCancellationError() async {
        let group = self.group
        let gate = Gate()
        let call = Task.atOnce {
            await Result {
                try await group.value("key") {
                    await gate.wait()
                    return 7
                }
            }
        }
        call.cancel()
        let result = await call.value
        #expect(throws: CancellationError.self) { try result.get() }
        gate.open()
    }

    @Test("the operation is canceled when the last caller has left, and the key is free before it ends")
    func lastCallerLeaves() async {
        let group = self.group
        let canceled = Gate()
        let hold = Gate()
        let callers = (0..<2).map { _ in
            Task.atOnce {
                await group.seen("key") {
                    await withTaskCancellationHandler {
                        await hold.wait()
                    } onCancel: {
                        canceled.open()
                    }
                    return 1
                }
            }
        }
        for call in callers {
            call.cancel()
            #expect(await call.value == .callerCanceled)
        }
        await canceled.wait()
        #expect(group.inFlight == 0)
        #expect(await group.seen("key") { 2 } == .value(2, shared: false, .leader))
        hold.open()
    }

    @Test("with the policy never, nobody's leaving cancels the operation, and callers may still join")
    func never() async {
        let group = self.group
        let gate = Gate()
        let first = Task.atOnce {
            await group.seen("key", .never) {
                await gate.wait()
                return Task.isCancelled ? -1 : 7
            }
        }
        first.cancel()
        #expect(await first.value == .callerCanceled)
        #expect(group.inFlight == 1)
        let second = Task.atOnce { await group.seen("key") { 8 } }
        gate.open()
        #expect(await second.value == .value(7, shared: false, .subscriber))
    }

    @Test("with the policy withLeader, the leader's cancellation cancels the operation and everybody is told")
    func withLeader() async {
        let group = self.group
        let gate = Gate()
        let leader = Task.atOnce {
            await group.seen("key", .withLeader) {
                try await gate.waitUnlessCanceled()
                return 7
            }
        }
        let subscriber = Task.atOnce { await group.seen("key") { 8 } }
        leader.cancel()
        #expect(await leader.value == .callerCanceled)
        #expect(await subscriber.value == .leaderLeft)
        #expect(group.usedSlots == 0)
    }

    @Test("value throws that the leader left")
    func leaderLeftError() async {
        let group = self.group
        let gate = Gate()
        let leader = Task.atOnce {
            await group.seen("key", .withLeader) {
                try await gate.waitUnlessCanceled()
                return 7
            }
        }
        let subscriber = Task.atOnce { await Result { try await group.value("key") { 8 } } }
        leader.cancel()
        let result = await subscriber.value
        #expect(throws: Cancellation.leaderLeft) { try result.get() }
    }

    @Test("with the policy withLeader, a value that is returned despite the cancellation is shared")
    func withLeaderCompletesAnyway() async {
        let group = self.group
        let gate = Gate()
        let leader = Task.atOnce {
            await group.seen("key", .withLeader) {
                await gate.wait()
                return 7
            }
        }
        let subscriber = Task.atOnce { await group.seen("key") { 8 } }
        leader.cancel()
        gate.open()
        #expect(await leader.value == .value(7, shared: true, .leader))
        #expect(await subscriber.value == .value(7, shared: true, .subscriber))
    }

    @Test("with the policy withLeader, subscribers that leave do not cancel the operation")
    func withLeaderIsNotAbandoned() async {
        let group = self.group
        let gate = Gate()
        let leader = Task.atOnce {
            await group.seen("key", .withLeader) {
                await gate.wait()
                return Task.isCancelled ? -1 : 7
            }
        }
        let subscriber = Task.atOnce { await group.seen("key") { 8 } }
        subscriber.cancel()
        #expect(await subscriber.value == .callerCanceled)
        gate.open()
        #expect(await leader.value == .value(7, shared: false, .leader))
    }

    @Test("an operation's own CancellationError is a result like any other error")
    func operationThrowsCancellationError() async {
        let outcome = await self.group.run("key") { throw CancellationError() }
        guard case .complete(let completion) = outcome, case .failure(let error) = completion.result else {
            Issue.record("\(outcome)")
            return
        }
        #expect(error is CancellationError)
    }

    @Test("a caller that is canceled before it calls runs nothing")
    func canceledBeforeCall() async {
        let group = self.group
        let gate = Gate()
        let runs = Counter()
        let call = Task.atOnce {
            await gate.wait()
            return await group.seen("key") {
                runs.increment()
                return 1
            }
        }
        call.cancel()
        gate.open()
        #expect(await call.value == .callerCanceled)
        #expect(runs.value == 0)
    }
}
