import Synchronization
import Testing

@testable import TestSupport

/// What the other tests stand on.
@Suite("The support of tests", .timeLimit(.minutes(4)))
struct TestSupportTests {
    /// How many bodies of a kind run, and the greatest numbers that were seen.
    private final class Watch: Sendable {
        private let state = Mutex((few: 0, alone: 0, mostFew: 0, mostTogether: 0))

        func begin(_ company: Turn.Company) {
            self.state.withLock { state in
                if company == .few { state.few += 1 } else { state.alone += 1 }
                state.mostFew = max(state.mostFew, state.few)
                if state.alone > 0 { state.mostTogether = max(state.mostTogether, state.few + state.alone) }
            }
        }

        func end(_ company: Turn.Company) {
            self.state.withLock { if company == .few { $0.few -= 1 } else { $0.alone -= 1 } }
        }

        var mostFew: Int { self.state.withLock { $0.mostFew } }
        /// Beside one that is to run alone, itself included.
        var mostTogether: Int { self.state.withLock { $0.mostTogether } }
    }

    @Test("no more tests run at a time than there are slots, and beside one that is to run alone none does")
    func slots() async throws {
        let (slots, watch) = (TurnSlots(3), Watch())
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for index in 0..<60 {
                let company: Turn.Company = index % 10 == 0 ? .none : .few
                tasks.addTask {
                    try await slots.withSlot(company) {
                        watch.begin(company)
                        for _ in 0..<20 { await Task.yield() }
                        watch.end(company)
                    }
                }
            }
            try await tasks.waitForAll()
        }
        #expect((1...3).contains(watch.mostFew))
        #expect(watch.mostTogether == 1)
    }

    @Test("a test that is canceled while it waits for a slot does not run, and takes none")
    func canceledSlot() async throws {
        let (slots, gate) = (TurnSlots(1), Gate())
        let first = Task { try await slots.withSlot(.few) { await gate.wait() } }
        await gate.untilArrived()
        let runs = Counter()
        let second = Task.atOnce { await Result { try await slots.withSlot(.few) { runs.increment() } } }
        second.cancel()
        let canceled = await second.value
        #expect(throws: CancellationError.self) { try canceled.get() }
        gate.open()
        try await first.value
        try await slots.withSlot(.none) { runs.increment() }
        #expect(runs.value == 1)
    }

    @Test("a canceled task waits neither for arrivals nor for a condition")
    func canceledWaits() async {
        let gate = Gate()
        let arrival = Task.atOnce { await gate.untilArrived() }
        arrival.cancel()
        await arrival.value
        let condition = Task.atOnce { await Result { try await until("what never comes") { false } } }
        condition.cancel()
        let canceled = await condition.value
        #expect(throws: CancellationError.self) { try canceled.get() }
    }

    @Test("a server's version is read from what it says, and settings are those that it knows")
    func serverVersion() {
        let (old, new) = (
            ServerVersion(said: "Redis server v=6.2.5 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64"),
            ServerVersion(said: "Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
        )
        #expect(!old.isValkey && old.major == 6 && old.minor == 2)
        #expect(new.isValkey && new.major == 8 && new.minor == 0)
        #expect(old.isBefore7 && old.isBefore72 && !new.isBefore7 && !new.isBefore72)
        #expect(ServerVersion(said: "Redis server v=7.0.15").isBefore72 && !ServerVersion(said: "").isBefore7)
        let lines = ["enable-debug-command yes", "busy-reply-threshold 20", "appendonly yes"]
        #expect(old.lines(lines) == ["lua-time-limit 20", "appendonly yes"])
        #expect(new.lines(lines) == lines)
    }
}
