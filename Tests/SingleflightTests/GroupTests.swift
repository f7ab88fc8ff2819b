import Synchronization
import TestSupport
import Testing

@testable import Singleflight

@Suite("Calls")
struct GroupTests {
    let group = Group<String, Int>()

    @Test(
        "a call returns its operation's value",
        arguments: [.whenAbandoned, .never, .withLeader] as [CancellationPolicy]
    )
    func value(policy: CancellationPolicy) async throws {
        #expect(try await self.group.value("key", cancellation: policy) { 7 } == 7)
        #expect(await self.group.seen("key", policy) { 7 } == .value(7, shared: false, .leader))
        #expect(self.group.usedSlots == 0)
    }

    @Test(
        "a call throws its operation's error",
        arguments: [.whenAbandoned, .never, .withLeader] as [CancellationPolicy]
    )
    func error(policy: CancellationPolicy) async {
        await #expect(throws: OperationError(number: 3)) {
            try await self.group.value("key", cancellation: policy) { throw OperationError(number: 3) }
        }
        #expect(self.group.usedSlots == 0)
    }

    @Test(
        "all who call while the operation runs get its one result",
        arguments: [.whenAbandoned, .never, .withLeader] as [CancellationPolicy]
    )
    func duplicatesAreSuppressed(policy: CancellationPolicy) async {
        let group = self.group
        let gate = Gate()
        let runs = Counter()
        let callers = (0..<100).map { _ in
            Task.atOnce {
                await group.seen("key", policy) {
                    runs.increment()
                    await gate.wait()
                    return 7
                }
            }
        }
        #expect(group.inFlight == 1)
        gate.open()
        #expect(await callers[0].value == .value(7, shared: true, .leader))
        for follower in callers.dropFirst() {
            #expect(await follower.value == .value(7, shared: true, .subscriber))
        }
        #expect(runs.value == 1)
        #expect(group.usedSlots == 0)
    }

    @Test("the error reaches every caller as the same value, and the next call starts afresh")
    func errorIsSharedAndForgotten() async {
        final class Identified: Error {}
        let group = self.group
        let gate = Gate()
        let callers = (0..<3).map { _ in
            Task.atOnce {
                await Result {
                    try await group.value("key") {
                        await gate.wait()
                        throw Identified()
                    }
                }
            }
        }
        gate.open()
        var errors: Set<ObjectIdentifier> = []
        for call in callers {
            guard case .failure(let error as Identified) = await call.value else {
                Issue.record("no error")
                return
            }
            errors.insert(ObjectIdentifier(error))
        }
        #expect(errors.count == 1)
        #expect(await group.seen("key") { 7 } == .value(7, shared: false, .leader))
    }

    @Test("different keys do not wait for one another, even in one shard")
    func keysAreIndependent() async {
        let group = Group<String, Int>(.init(), shardCount: 1)
        let gate = Gate()
        let slow = Task.atOnce {
            await group.seen("slow") {
                await gate.wait()
                return 1
            }
        }
        #expect(await group.seen("fast") { 2 } == .value(2, shared: false, .leader))
        #expect(group.keysInFlight == ["slow"])
        gate.open()
        #expect(await slow.value == .value(1, shared: false, .leader))
        #expect(group.inFlight == 0)
    }

    @Test("a forgotten flight goes on, and its completion does not remove its successor")
    func forget() async {
        let group = self.group
        let gates = (Gate(), Gate())
        let first = Task.atOnce {
            await group.seen("key") {
                await gates.0.wait()
                return 1
            }
        }
        #expect(group.forget("key"))
        #expect(!group.forget("key"))
        let second = Task.atOnce {
            await group.seen("key") {
                await gates.1.wait()
                return 2
            }
        }
        gates.0.open()
        #expect(await first.value == .value(1, shared: false, .leader))
        #expect(group.keysInFlight == ["key"])
        let third = Task.atOnce { await group.seen("key") { 3 } }
        gates.1.open()
        #expect(await second.value == .value(2, shared: true, .leader))
        #expect(await third.value == .value(2, shared: true, .subscriber))
        #expect(group.usedSlots == 0)
    }

    @Test("the operation has the task-local values and the priority of the caller that leads")
    func operationInherits() async {
        enum Local {
            @TaskLocal static var number = 0
        }
        let group = self.group
        let call = Task(priority: .low) {
            await Local.$number.withValue(7) {
                await group.seen("key") { Task.currentPriority == .low ? Local.number : -1 }
            }
        }
        #expect(await call.value == .value(7, shared: false, .leader))
    }

    @Test("a waiting task of higher priority raises the operation's")
    func priorityIsRaised() async {
        let group = self.group
        let gate = Gate()
        let leader = Task.atOnce(priority: .low) {
            await group.seen("key") {
                await gate.wait()
                return Int(Task.currentPriority.rawValue)
            }
        }
        let joiner = Task.atOnce(priority: .high) { await group.seen("key") { 0 } }
        gate.open()
        let raised = Seen.value(Int(TaskPriority.high.rawValue), shared: true, .leader)
        #expect(await leader.value == raised)
        _ = await joiner.value
    }

    @available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *)
    @Test("a waiting task whose priority is raised raises the operation's")
    func escalationIsPassedOn() async {
        let group = self.group
        let gate = Gate()
        let leader = Task.atOnce(priority: .low) {
            await group.seen("key") {
                await gate.wait()
                return Int(Task.currentPriority.rawValue)
            }
        }
        let joiner = Task.atOnce(priority: .low) { await group.seen("key") { 0 } }
        joiner.escalatePriority(to: .high)
        gate.open()
        #expect(await joiner.value == .value(Int(TaskPriority.high.rawValue), shared: true, .subscriber))
        _ = await leader.value
    }

    @Test("the waiter bound refuses one caller too many, and counts neither the leader nor those who left")
    func waiterBound() async throws {
        let group = Group<String, Int>(.init(maximumWaitersPerKey: 1))
        let gate = Gate()
        let operation: @Sendable () async -> Int = {
            await gate.wait()
            return 7
        }
        let leader = Task.atOnce { await group.seen("key", nil, operation) }
        let impatient = Task.atOnce { await group.seen("key", nil, operation) }
        #expect(await group.seen("key", nil, operation).isRefusal)
        let error = await #expect(throws: GroupError.self) { try await group.value("key", operation: operation) }
        #expect(error?.code == .tooManyWaiters)
        #expect(error?.key == "key")
        #expect(error?.limit == 1)
        let refused = try group.subscriber("key")
        #expect(await refused.seen().isRefusal)
        impatient.cancel()
        _ = await impatient.value
        let patient = Task.atOnce { await group.seen("key", nil, operation) }
        gate.open()
        #expect(await leader.value == .value(7, shared: true, .leader))
        #expect(await patient.value == .value(7, shared: true, .subscriber))
    }

    @Test("refusals are equal if they say the same of the same key")
    func refusals() {
        let refusal = GroupError(.tooManyWaiters, key: "key", limit: 1)
        #expect(refusal == GroupError(.tooManyWaiters, key: "key", limit: 1))
        #expect(refusal.hashValue == GroupError(.tooManyWaiters, key: "key", limit: 1).hashValue)
        #expect(refusal != GroupError(.tooManyWaiters, key: "key", limit: 2))
        #expect(refusal != GroupError(.tooManyWaiters, key: "other", limit: 1))
        #expect(refusal != GroupError(.reentrantCall, key: "key", limit: 1))
    }

    @Test("what a call hands about is small: an outcome fits into registers, and a seat into three words")
    func sizes() {
        #expect(MemoryLayout<Outcome<Int>>.size <= 24)
        #expect(MemoryLayout<Outcome<String>>.size <= 32)
        #expect(MemoryLayout<Seats<UnsafeContinuation<Outcome<Int>, Never>>.Seat>.stride == 24)
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do {
            self = .success(try await body())
        } catch {
            self = .failure(error)
        }
    }
}
