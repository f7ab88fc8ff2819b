import Foundation
import Singleflight
import SingleflightCLI
import Synchronization

/// Measures the local group in this process, from outside of its module as its users do.
///
/// The contenders take turns in short rounds, so that what else the machine does meets all of them; a figure is the
/// median of its rounds.
struct LocalBench {
    let isQuick: Bool

    private static let keys = (0..<1024).map { "user:\($0)" }
    private static let othersCount = 100_000

    func run() async -> LocalFigures {
        var figures = LocalFigures()
        await measureCalls(&figures)
        await countAllocations(&figures)
        for callers in [64, 1_000, 10_000, 100_000] { figures.crowd.append(await crowd(callers)) }
        return figures
    }

    // MARK: Uncontended calls

    private func measureCalls(_ figures: inout LocalFigures) async {
        let dictionary = BareDictionary()
        let naive = NaiveActor()
        let group = Group<String, Int>()
        let crowded = Group<String, Int>()
        let others = (0..<Self.othersCount).map { crowded.entry("other:\($0)") }
        var times = Array(repeating: [Double](), count: 6)
        for _ in 0..<(isQuick ? 15 : 41) {
            times[0].append(await Self.time(20_000) { Self.call(dictionary, $0) })
            times[1].append(await Self.time(4_000) { await Self.call(naive, $0) })
            times[2].append(await Self.time(20_000) { await Self.callWithLeader(group, $0) })
            times[3].append(await Self.time(20_000) { await Self.callWithLeader(crowded, $0) })
            times[4].append(await Self.time(4_000) { await Self.callByDefault(group, $0) })
            times[5].append(
                await Self.time(20_000) { count in
                    async let other: Void = Self.callWithLeader(group, count / 2, offset: 512)
                    await Self.callWithLeader(group, count / 2)
                    await other
                }
            )
        }
        withExtendedLifetime(others) {}
        let medians = times.map(Self.median)
        figures.bareDictionary = medians[0]
        figures.naiveActor = medians[1]
        figures.withLeader = medians[2]
        figures.withLeaderAmongOthers = medians[3]
        figures.defaultPolicy = medians[4]
        figures.withLeaderByTwo = medians[5]
    }

    @inline(never)
    private static func call(_ dictionary: BareDictionary, _ count: Int) {
        for index in 0..<count {
            dictionary.insert(keys[index & 1023])
            dictionary.remove(keys[index & 1023])
        }
    }

    @inline(never)
    private static func call(_ naive: NaiveActor, _ count: Int) async {
        for index in 0..<count { _ = await naive.value(keys[index & 1023]) { 1 } }
    }

    @inline(never)
    private static func callWithLeader(_ group: Group<String, Int>, _ count: Int, offset: Int = 0) async {
        let keys = keys
        for index in 0..<count {
            _ = await group.run(keys[(index + offset) & 1023], cancellation: .withLeader) { 1 }
        }
    }

    @inline(never)
    private static func callByDefault(_ group: Group<String, Int>, _ count: Int) async {
        let keys = keys
        for index in 0..<count { _ = await group.run(keys[index & 1023]) { 1 } }
    }

    private func countAllocations(_ figures: inout LocalFigures) async {
        guard let counter = AllocationCounter() else { return }
        let waiting = isQuick ? 20_000 : 100_000
        figures.bytesPerTask = await bytesPerTask(waiting, counter)
        figures.bytesPerCaller = await bytesPerCaller(waiting, counter)
        figures.bytesPerOpenFlight = Self.bytesPerOpenFlight(waiting, counter)
        let group = Group<String, Int>()
        func perCall(_ body: (Int) async -> Void) async -> Double {
            await body(2048)
            let before = counter.count
            await body(10_000)
            return Double(counter.count - before) / 10_000
        }
        figures.withLeaderAllocations = await perCall { await Self.callWithLeader(group, $0) }
        figures.defaultPolicyAllocations = await perCall { await Self.callByDefault(group, $0) }
    }

    // MARK: Growth

    /// What a caller costs by how many call, and a call by how many other flights are open.
    func growth() async -> [ScalingSeries] {
        var callers = ScalingSeries(.nanosecondsPerCaller, x: "callers of one key")
        for count in [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000] {
            let crowd = await crowd(count)
            callers.append(Double(count), ["join and release": crowd.nanoseconds, "spawning alone": crowd.spawning])
        }
        var others = ScalingSeries(.nanosecondsPerFlight, x: "other flights open")
        for count in [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000] {
            let group = Group<String, Int>()
            let open = (0..<count).map { group.entry("other:\($0)") }
            var withLeader: [Double] = []
            var byDefault: [Double] = []
            for _ in 0..<(isQuick ? 5 : 15) {
                withLeader.append(await Self.time(20_000) { await Self.callWithLeader(group, $0) })
                byDefault.append(await Self.time(4_000) { await Self.callByDefault(group, $0) })
            }
            withExtendedLifetime(open) {}
            others.append(
                Double(count),
                [".withLeader": Self.median(withLeader), "default": Self.median(byDefault)]
            )
        }
        return [callers, others]
    }

    // MARK: Many callers of one key

    private func crowd(_ callers: Int) async -> LocalFigures.Crowd {
        var spawning: [Double] = []
        var joining: [Double] = []
        for _ in 0..<max(5, min(isQuick ? 20 : 60, 200_000 / callers)) {
            spawning.append(
                await Self.time(callers) { count in
                    await withTaskGroup(of: Int.self) { tasks in
                        for _ in 0..<count { tasks.addTask { 1 } }
                        for await _ in tasks {}
                    }
                }
            )
            joining.append(await Self.time(callers) { await Self.gather($0) })
        }
        let (spawn, join) = (Self.median(spawning), Self.median(joining))
        return LocalFigures.Crowd(callers: callers, nanoseconds: join - spawn, spawning: spawn)
    }

    /// So many callers join a flight, and then get its value.
    private static func gather(_ count: Int) async {
        let group = Group<String, Int>()
        guard case .leader(let leader) = group.entry("hot") else { return }
        await withTaskGroup(of: Void.self) { tasks in
            for _ in 0..<count { tasks.addTask { _ = await group.run("hot") { 0 } } }
            while leader.subscriberCount < count { await Task.yield() }
            leader.complete(.success(1))
        }
    }

    private func bytesPerCaller(_ count: Int, _ counter: AllocationCounter) async -> Double {
        let group = Group<String, Int>()
        guard case .leader(let leader) = group.entry("hot") else { return 0 }
        return await withTaskGroup(of: Void.self) { tasks in
            let before = counter.heapBytes
            for _ in 0..<count { tasks.addTask { _ = await group.run("hot") { 0 } } }
            while leader.subscriberCount < count { await Task.yield() }
            let after = counter.heapBytes
            leader.complete(.success(1))
            return Double(after - before) / Double(count)
        }
    }

    private static func bytesPerOpenFlight(_ count: Int, _ counter: AllocationCounter) -> Double {
        let group = Group<String, Int>()
        var open: [Group<String, Int>.Entry] = []
        open.reserveCapacity(count)
        let before = counter.heapBytes
        for index in 0..<count { open.append(group.entry("flight:\(index)")) }
        let after = counter.heapBytes
        withExtendedLifetime(open) {}
        return Double(after - before) / Double(count)
    }

    /// The same tasks without the group. They wait for continuations like the group's: what checked ones allocate would
    /// be taken for the task's own.
    private func bytesPerTask(_ count: Int, _ counter: AllocationCounter) async -> Double {
        let parked = Parked()
        return await withTaskGroup(of: Void.self) { tasks in
            let before = counter.heapBytes
            for _ in 0..<count {
                tasks.addTask {
                    await withUnsafeContinuation { continuation in
                        parked.continuations.withLock { $0.append(continuation) }
                    }
                }
            }
            while parked.continuations.withLock({ $0.count }) < count { await Task.yield() }
            let after = counter.heapBytes
            for continuation in parked.continuations.withLock({ $0 }) { continuation.resume() }
            return Double(after - before) / Double(count)
        }
    }

    // MARK: Time

    /// Nanoseconds for each of `count`.
    private static func time(_ count: Int, _ body: (Int) async -> Void) async -> Double {
        let start = MonotonicTime.now
        await body(count)
        return Double(MonotonicTime.now.nanoseconds - start.nanoseconds) / Double(count)
    }

    private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
}

/// Tasks that wait without a group.
private final class Parked: Sendable {
    let continuations = Mutex<[UnsafeContinuation<Void, Never>]>([])
}
