import Benchmark
import Singleflight
import Synchronization

/// The local group from another module, as its users call it, and what it is compared with.
let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .cpuTotal, .instructions, .contextSwitches],
        warmupIterations: 1,
        scalingFactor: .kilo,
        maxDuration: .seconds(1),
        maxIterations: 1_000
    )

    Benchmark("a dictionary under a mutex") { benchmark in
        let dictionary = BareDictionary()
        for index in benchmark.scaledIterations {
            dictionary.insert(keys[index & 1023])
            dictionary.remove(keys[index & 1023])
        }
    }

    Benchmark("an actor that keeps tasks") { benchmark in
        let actor = NaiveActor()
        for index in benchmark.scaledIterations { blackHole(await actor.value(keys[index & 1023]) { index }) }
    }

    for (name, policy) in [("in the caller's task", .withLeader), ("by default", .whenAbandoned)]
        as [(String, CancellationPolicy)]
    {
        Benchmark("an uncontended call, \(name)") { benchmark in
            let group = Group<String, Int>()
            for index in benchmark.scaledIterations {
                blackHole(await group.run(keys[index & 1023], cancellation: policy) { index })
            }
        }
    }

    Benchmark("an uncontended call among 100 000 open flights") { benchmark, crowded in
        for index in benchmark.scaledIterations {
            blackHole(await crowded.group.run(keys[index & 1023], cancellation: .withLeader) { index })
        }
    } setup: {
        Crowded()
    }

    Benchmark("a thousand callers join a flight and get its value", configuration: .init(scalingFactor: .one)) {
        benchmark in
        for _ in benchmark.scaledIterations {
            let group = Group<String, Int>()
            guard case .leader(let leader) = group.entry("hot") else { return }
            await withTaskGroup(of: Void.self) { tasks in
                for _ in 0..<1_000 { tasks.addTask { blackHole(await group.run("hot") { 0 }) } }
                while leader.subscriberCount < 1_000 { await Task.yield() }
                leader.complete(.success(1))
            }
        }
    }
}

private let keys = (0..<1024).map { "user:\($0)" }

/// A group with 100 000 flights that do not end.
private struct Crowded: Sendable {
    let group: Group<String, Int>
    private let others: [Entry<String, Int>]

    init() {
        let group = Group<String, Int>()
        self.group = group
        self.others = (0..<100_000).map { group.entry("other:\($0)") }
    }
}

/// What many write in half an hour.
private actor NaiveActor {
    private var tasks: [String: Task<Int, Never>] = [:]

    func value(_ key: String, _ operation: @escaping @Sendable () async -> Int) async -> Int {
        if let task = tasks[key] { return await task.value }
        let task = Task { await operation() }
        tasks[key] = task
        let value = await task.value
        tasks[key] = nil
        return value
    }
}

/// The least that any coalescing does: put the key in, take it out.
private final class BareDictionary: Sendable {
    private let keys = Mutex<[String: Int]>([:])

    @inline(never)
    func insert(_ key: String) { self.keys.withLock { $0[key] = 1 } }

    @inline(never)
    func remove(_ key: String) { self.keys.withLock { _ = $0.removeValue(forKey: key) } }
}
