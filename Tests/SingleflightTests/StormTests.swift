import Synchronization
import TestSupport
import Testing

@testable import Singleflight

/// Opens a gate when nobody holds it any more.
private final class Token: Sendable {
    let gate: Gate

    init(opens gate: Gate) {
        self.gate = gate
    }

    deinit {
        self.gate.open()
    }
}

@Suite("Storms", .keepsBusy, .timeLimit(.minutes(4)))
struct StormTests {
    @Test("of 10 000 callers on one key, half of them canceled meanwhile, each is resumed exactly once")
    func oneKey() async {
        let group = Group<Int, Int>()
        let gate = Gate()
        let runs = Counter()
        let callers = (0..<10_000).map { _ in
            Task.atOnce {
                await group.seen(1) {
                    runs.increment()
                    await gate.wait()
                    return 7
                }
            }
        }
        #expect(group.suspendedCallers == 10_000)
        // Odd callers are canceled by two racing tasks while the operation completes.
        async let first: Void = { for call in 0..<5000 where call % 2 == 1 { callers[call].cancel() } }()
        async let second: Void = { for call in 5000..<10_000 where call % 2 == 1 { callers[call].cancel() } }()
        callers[1].cancel()
        gate.open()
        _ = await (first, second)

        var tally = (values: 0, canceled: 0, other: 0)
        for (index, call) in callers.enumerated() {
            switch await call.value {
            case .value(7, _, _): tally.values += 1
            case .callerCanceled where index % 2 == 1: tally.canceled += 1
            default: tally.other += 1
            }
        }
        #expect(tally.other == 0)
        #expect(tally.values >= 5000)
        #expect(tally.values + tally.canceled == 10_000)
        #expect(runs.value == 1)
        #expect(group.usedSlots == 0)
    }

    @Test(
        "ten callers on each of 500 keys, with all policies, cancellations and forgetting, all return and leave nothing behind",
        arguments: [1, 8]
    )
    func manyKeys(shardCount: Int) async {
        let group = Group<Int, Int>(.init(), shardCount: shardCount)
        let allGone = Gate()
        var token: Token? = Token(opens: allGone)
        let outcomes = await withTaskGroup(of: Void.self, returning: Int.self) { [token] tasks in
            for number in 0..<5000 {
                tasks.addTask {
                    let policy: CancellationPolicy = [.whenAbandoned, .never, .withLeader][number % 3]
                    let call = Task {
                        await group.seen(number / 10, policy) { [token] in
                            defer { withExtendedLifetime(token) {} }
                            for _ in 0..<(number % 5) { await Task.yield() }
                            if number % 11 == 0 { throw OperationError() }
                            try Task.checkCancellation()
                            return number / 10
                        }
                    }
                    if number % 4 == 0 { call.cancel() }
                    if number % 50 == 0 { group.forget(number / 10) }
                    let seen = await call.value
                    if case .value(let value, _, _) = seen { #expect(value == number / 10) }
                }
            }
            return await tasks.reduce(0) { count, _ in count + 1 }
        }
        #expect(outcomes == 5000)
        // Operations that nobody waits for any more may still be on their way out; each holds the token to its end.
        token = nil
        await allGone.wait()
        #expect(group.usedSlots == 0)
        #expect(group.inFlight == 0)
    }

    @Test("leaders and subscribers by hand, ten racing for each key, leave an empty group")
    func handles() async {
        let group = Group<Int, Int>(.init(), shardCount: 1)
        let (leaders, abandonments) = (Counter(), Counter())
        await withTaskGroup(of: Void.self) { tasks in
            for number in 0..<5000 {
                tasks.addTask {
                    switch group.entry(number / 10) {
                    case .leader(let leader):
                        leaders.increment()
                        leader.onAbandoned { _ in abandonments.increment() }
                        let own = leader.subscribe()
                        if number % 2 == 0 { await Task.yield() }
                        switch number % 5 {
                        case 0: leader.complete(.success(number / 10))
                        case 1: leader.cancel()
                        case 2: own.leave()
                        case 3: break
                        default:
                            leader.complete(.success(number / 10))
                            _ = await own.outcome()
                        }
                    case .subscriber(let subscriber):
                        if number % 3 == 0 { subscriber.leave() }
                        if number % 7 == 0 { return }
                        if case .value(let value, _, _) = await subscriber.seen() { #expect(value == number / 10) }
                    }
                }
            }
        }
        #expect(group.inFlight == 0)
        #expect(group.usedSlots == 0)
        #expect(abandonments.value <= leaders.value)
    }
}
