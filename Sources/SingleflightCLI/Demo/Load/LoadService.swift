import ServiceLifecycle
import SingleflightRedis
import Synchronization

/// Callers that ask for hot keys without end, and a line a second about what they got.
struct LoadService: Service {
    let group: DistributedGroup<String, Int>
    let origin: OriginClient
    let callers: Int
    let keys: Int
    /// The longest time between two calls of a caller.
    let pause: Duration
    let say: @Sendable (String) throws -> Void

    /// Returns after a graceful shutdown, when the callers have left their flights.
    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await load() }
        } catch is CancellationError {
            return
        }
    }

    private func load() async throws {
        let tally = SharedTally()
        try await withThrowingDiscardingTaskGroup { tasks in
            for _ in 0..<callers { tasks.addTask { try await call(tally) } }
            tasks.addTask { try await report(tally) }
        }
    }

    private func call(_ tally: SharedTally) async throws {
        while true {
            try await Task.sleep(for: pause * Double.random(in: 0...1))
            let key = "page-\(Int.random(in: 0..<keys))"
            let outcome = await group.run(key) { [origin] _ in try await origin.get(key) }
            try Task.checkCancellation()
            tally.value.withLock { $0.add(outcome, of: key) }
        }
    }

    private func report(_ tally: SharedTally) async throws {
        while true {
            try await Task.sleep(for: .seconds(1))
            let hits = try? await origin.hits(under: "").values.reduce(0, +)
            let (events, line) = tally.value.withLock { ($0.takeEvents(), $0.line(hits: hits)) }
            try (events + [line]).forEach(say)
        }
    }
}

private final class SharedTally: Sendable {
    let value = Mutex(LoadTally())
}
