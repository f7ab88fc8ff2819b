import Foundation
import Singleflight
import SingleflightCLI
import SingleflightRedis
import Synchronization

/// Carries out a benchmark's orders in a process of its own.
final class BenchWorker: Sendable {
    typealias Line = BenchWorkerLine<BenchAnswer>

    let say: @Sendable (Line) -> Void
    let store: RedisLeaseStore
    let streams: StreamGroup<String, [UInt8]>
    private let group: DistributedGroup<String, [UInt8]>
    /// What was begun last.
    private let flight = Mutex<Task<Line, Never>?>(nil)
    let finishing: AsyncStream<Void>
    private let finish: AsyncStream<Void>.Continuation

    init(
        store: RedisLeaseStore,
        configuration: DistributedGroupConfiguration,
        say: @escaping @Sendable (Line) -> Void
    ) throws {
        self.store = store
        group = try DistributedGroup("bench", store: store, configuration: configuration)
        streams = try StreamGroup(
            "streams",
            store: store,
            configuration: configuration,
            limits: StreamLimits(maximumBytes: 2 << 30)
        )
        self.say = say
        (finishing, finish) = AsyncStream.makeStream(of: Void.self)
    }

    func perform(_ order: BenchOrder) async {
        switch order {
        case .flights(let callers, let seconds, let payload):
            say(.answer(.flights(await flights(callers: callers, seconds: seconds, payload: payload))))
        case .herd(let round, let callers, let keys):
            begin { await self.herd(round: round, callers: callers, keys: keys) }
        case .open(let flights):
            say(.answer(.opened(bytes: await open(flights))))
        case .lead(let key, let payload):
            begin { await self.lead(key, payload: payload) }
        case .finish:
            finish.yield()
        case .follow(let key):
            begin { await self.follow(key) }
        case .writeStream(let key, let parts, let bytes):
            begin { await self.writeStream(key, parts: parts, bytes: bytes) }
        case .readStream(let key, let readers):
            begin { await self.readStream(key, readers: readers) }
        case .hear(let channel):
            begin { await self.hear(channel) }
        case .tell(let channel):
            say(await tell(channel))
        case .report:
            guard let flight = flight.withLock({ $0 }) else { return say(.failed("there is no flight")) }
            say(await flight.value)
        }
    }

    private func begin(_ body: @escaping @Sendable @concurrent () async -> Line) {
        let task = Task(operation: body)
        flight.withLock { $0 = task }
    }

    // MARK: Flights

    private func flights(callers: Int, seconds: Double, payload: Int) async -> FlightCount {
        let start = MonotonicTime.now
        let end = start.advanced(by: .seconds(seconds))
        let counter = AllocationCounter()
        let allocations = counter?.count ?? 0
        let cpu = ProcessTime.now
        var total = FlightCount()
        await withTaskGroup(of: FlightCount.self) { [group] tasks in
            let (value, process) = ([UInt8](repeating: 0, count: payload), getpid())
            for caller in 0..<callers {
                tasks.addTask {
                    var count = FlightCount()
                    var time = MonotonicTime.now
                    while time < end {
                        count.flights += 1
                        let key = "\(process):\(caller):\(count.flights)"
                        do {
                            _ = try await group.value(key) { _ in value }
                        } catch {
                            count.failures += 1
                        }
                        let done = MonotonicTime.now
                        count.latency.record(nanoseconds: done.nanoseconds - time.nanoseconds)
                        time = done
                    }
                    return count
                }
            }
            for await count in tasks {
                total.flights += count.flights
                total.failures += count.failures
                total.latency.merge(count.latency)
            }
        }
        total.seconds = start.duration(to: .now) / .seconds(1)
        total.cpuNanoseconds = ProcessTime.now - cpu
        total.allocations = counter.map { $0.count - allocations }
        return total
    }

    private func herd(round: Int, callers: Int, keys: Int) async -> Line {
        let runs = RunLog()
        let (asking, ask) = AsyncStream.makeStream(of: Void.self)
        var failures = 0
        // What the operations wait for is a flight of its own, led by hand.
        let gates = Group<Int, Void>()
        guard case .leader(let gate) = gates.entry(round) else { return .failed("the gate is led already") }
        await withTaskGroup(of: Bool?.self) { [group, say, finishing] tasks in
            tasks.addTask {
                for await _ in asking.prefix(callers) {}
                say(.answer(.asked))
                for await _ in finishing { break }
                gate.complete(.success(()))
                return nil
            }
            for caller in 0..<callers {
                let key = "herd:\(round):\(caller % keys)"
                tasks.addTask {
                    ask.yield()
                    let outcome = await group.run(key) { _ in
                        runs.add(key)
                        _ = await gates.run(round) {}
                        return StampedPayload.make(bytes: 100)
                    }
                    if case .complete(let completion) = outcome, case .success = completion.result { return true }
                    return false
                }
            }
            for await succeeded in tasks where succeeded == false { failures += 1 }
        }
        return .answer(.herd(runs: runs.keys, failures: failures))
    }

    private func open(_ flights: Int) async -> Double? {
        guard let counter = AllocationCounter() else { return nil }
        let (leading, lead) = AsyncStream.makeStream(of: Void.self)
        return await withTaskGroup(of: Void.self) { [group] tasks in
            let before = counter.heapBytes
            for index in 0..<flights {
                tasks.addTask {
                    _ = await group.run("open:\(index)") { _ in
                        lead.yield()
                        // Until it is canceled.
                        try await Task.sleep(for: .seconds(600))
                        return []
                    }
                    lead.finish()
                }
            }
            var led = 0
            for await _ in leading.prefix(flights) { led += 1 }
            let after = counter.heapBytes
            tasks.cancelAll()
            // One that ended by itself did not get its lease, or lost it.
            guard led == flights else { return nil }
            return Double(after - before) / Double(flights)
        }
    }

    // MARK: One flight

    private func lead(_ key: String, payload: Int) async -> Line {
        let outcome = await group.run(key) { [say, finishing] _ in
            say(.answer(.leading))
            for await _ in finishing { break }
            return StampedPayload.make(bytes: payload)
        }
        if case .complete(let completion) = outcome, completion.role == .leader { return .answer(.led) }
        return .failed("the leader got \(outcome)")
    }

    private func follow(_ key: String) async -> Line {
        let outcome = await group.run(key) { [say] _ in
            say(.answer(.tookOver(.now)))
            return StampedPayload.make(bytes: 100)
        }
        let arrived = MonotonicTime.now
        guard case .complete(let completion) = outcome, case .success(let bytes) = completion.result else {
            return .failed("a follower got \(outcome)")
        }
        return .answer(.followed(handedOver: StampedPayload.time(of: bytes), arrived: arrived))
    }
}

/// The keys whose operations were run, once for each run.
private final class RunLog: Sendable {
    private let state = Mutex<[String]>([])

    var keys: [String] { state.withLock { $0 } }

    func add(_ key: String) { state.withLock { $0.append(key) } }
}
