import Allocations
import Benchmark
import Singleflight
import Synchronization

/// The local group from another module, as its users call it, and what it is compared with.
///
/// The operations capture nothing: what one captures, its caller allocates.
let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        // Instructions are shown where the processor's counters can be read.
        metrics: [.wallClock, .instructions, .allocations],
        warmupIterations: 20,
        scalingFactor: .kilo,
        maxDuration: .seconds(1),
        maxIterations: 1_000
    )

    Benchmark("a dictionary under a mutex") { benchmark, dictionary in
        counting(benchmark) {
            for index in benchmark.scaledIterations {
                dictionary.insert(keys[index & 1023])
                dictionary.remove(keys[index & 1023])
            }
        }
    } setup: {
        BareDictionary()
    }

    Benchmark("an actor that keeps tasks") { benchmark, actor in
        await counting(benchmark) {
            for index in benchmark.scaledIterations { blackHole(await actor.value(keys[index & 1023]) { 1 }) }
        }
    } setup: {
        NaiveActor()
    }

    for (name, policy) in [("in the caller's task", .withLeader), ("by default", .whenAbandoned)]
        as [(String, CancellationPolicy)]
    {
        Benchmark("an uncontended call, \(name)") { benchmark, group in
            await counting(benchmark) {
                for index in benchmark.scaledIterations {
                    blackHole(await group.run(keys[index & 1023], cancellation: policy) { 1 })
                }
            }
        } setup: {
            Group<String, Int>()
        }
    }

    Benchmark("an uncontended call among 100 000 open flights") { benchmark, crowded in
        await counting(benchmark) {
            for index in benchmark.scaledIterations {
                blackHole(await crowded.group.run(keys[index & 1023], cancellation: .withLeader) { 1 })
            }
        }
    } setup: {
        Crowded()
    }

    Benchmark(
        "a thousand callers join a flight and get its value",
        configuration: .init(metrics: [.wallClock, .instructions, .heapBytes], scalingFactor: .one)
    ) { benchmark in
        for _ in benchmark.scaledIterations { await gather(1_000, benchmark) }
    }

    Benchmark(
        "a thousand tasks wait without a group",
        configuration: .init(metrics: [.wallClock, .instructions, .heapBytes], scalingFactor: .one)
    ) { benchmark in
        for _ in benchmark.scaledIterations { await park(1_000, benchmark) }
    }
}

extension BenchmarkMetric {
    /// How often the heap was asked, for a thousand calls.
    fileprivate static let allocations = BenchmarkMetric.custom("Allocations of 1000 calls", useScalingFactor: false)

    /// What the heap has given out for each task that waits.
    fileprivate static let heapBytes = BenchmarkMetric.custom("Bytes of a waiting task", useScalingFactor: false)
}

private let keys = (0..<1024).map { "user:\($0)" }

/// Runs a benchmark's calls, and notes how many allocations they made.
private func counting(_ benchmark: Benchmark, _ calls: () async -> Void) async {
    let before = singleflight_allocations()
    await calls()
    benchmark.measurement(.allocations, singleflight_allocations() - before)
}

private func counting(_ benchmark: Benchmark, _ calls: () -> Void) {
    let before = singleflight_allocations()
    calls()
    benchmark.measurement(.allocations, singleflight_allocations() - before)
}

/// So many callers join a flight; once all wait, they get its value.
private func gather(_ count: Int, _ benchmark: Benchmark) async {
    let group = Group<String, Int>()
    guard case .leader(let leader) = group.entry("hot") else { return }
    await withTaskGroup(of: Void.self) { tasks in
        let before = singleflight_heap_bytes()
        for _ in 0..<count { tasks.addTask { blackHole(await group.run("hot") { 0 }) } }
        while leader.subscriberCount < count { await Task.yield() }
        benchmark.measurement(.heapBytes, (singleflight_heap_bytes() - before) / count)
        leader.complete(.success(1))
    }
}

/// So many tasks wait, for nothing but a continuation's end: what tasks cost by themselves.
private func park(_ count: Int, _ benchmark: Benchmark) async {
    let parked = Parked()
    await withTaskGroup(of: Void.self) { tasks in
        let before = singleflight_heap_bytes()
        for _ in 0..<count {
            tasks.addTask {
                await withUnsafeContinuation { continuation in parked.continuations.withLock { $0.append(continuation) }
                }
            }
        }
        while parked.continuations.withLock({ $0.count }) < count { await Task.yield() }
        benchmark.measurement(.heapBytes, (singleflight_heap_bytes() - before) / count)
        for continuation in parked.continuations.withLock({ $0 }) { continuation.resume() }
    }
}

/// Tasks that wait without a group.
private final class Parked: Sendable {
    let continuations = Mutex<[UnsafeContinuation<Void, Never>]>([])
}

/// A group with 100 000 flights that do not end.
private struct Crowded: Sendable {
    let group: Group<String, Int>
    private let others: [Group<String, Int>.Entry]

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
