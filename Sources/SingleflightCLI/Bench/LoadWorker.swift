import SingleflightRedis
import Synchronization

/// Carries out a ``Load`` in a process of its own.
struct LoadWorker: Sendable {
    private let group: DistributedGroup<String, [UInt8]>

    init(store: RedisLeaseStore) throws {
        group = try DistributedGroup("bench", store: store, configuration: BenchSettings.steady.group)
    }

    func run(_ load: Load) async -> LoadCount {
        let keys = SkewedKeys(count: load.keys, skew: load.skew)
        let start = MonotonicTime.now
        let end = start.advanced(by: .seconds(load.seconds))
        let runs = RunCount()
        var total = LoadCount()
        await withTaskGroup(of: LoadCount.self) { [group] tasks in
            for _ in 0..<load.callers {
                tasks.addTask {
                    var count = LoadCount()
                    while MonotonicTime.now < end {
                        let outcome = await group.run(keys.draw()) { _ in
                            runs.add()
                            // The work that is saved: its length is part of the load, nothing is synchronized by it.
                            if load.work > .zero { try await Task.sleep(for: load.work) }
                            return StampedPayload.make(bytes: load.payload)
                        }
                        count.note(outcome, at: .now)
                    }
                    return count
                }
            }
            for await count in tasks { total.add(count) }
        }
        total.runs = runs.value
        total.seconds = start.duration(to: .now) / .seconds(1)
        return total
    }
}

/// How many operations were run.
private final class RunCount: Sendable {
    private let count = Atomic(0)

    var value: Int { count.load(ordering: .relaxed) }

    func add() { count.add(1, ordering: .relaxed) }
}

extension LoadCount {
    fileprivate mutating func note(_ outcome: Outcome<[UInt8]>, at time: MonotonicTime) {
        calls += 1
        guard case .complete(let completion) = outcome, case .success(let bytes) = completion.result else {
            failures += 1
            return
        }
        if completion.role == .follower {
            wakeUps.record(nanoseconds: time.nanoseconds - StampedPayload.time(of: bytes).nanoseconds)
        }
    }
}
