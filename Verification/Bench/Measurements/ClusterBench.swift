import HiredisClient
import PrivateRedis
import SingleflightCLI
import Synchronization

/// Flights on clusters of one, two and three primaries beside one server, and how long results take to callers in other
/// processes while slots move.
struct ClusterBench {
    struct Flights {
        var perSecond: Double
        /// Microseconds of processor time of all servers together, for one flight.
        var redisCPU: Double
    }

    struct WakeUps {
        /// At rest, and while slots move.
        var rest = LatencyHistogram()
        var moving = LatencyHistogram()
        /// How many slots have moved, in which time.
        var moves = 0
        var seconds = 0.0
    }

    /// What is measured side by side: one server, or a cluster, with worker processes.
    private struct Contender {
        let redis: BenchRedis
        let workers: [BenchWorkers]
    }

    let isQuick: Bool
    let namespace: String

    private static let rounds = 5
    /// Worker processes for each contender; the work of a single one is not what limits it.
    private static let processes = 2
    /// All partitions of a namespace, and those few to which all flights are drawn where they are to meet moves.
    private static let allPartitions = 256
    private static let fewPartitions = 16

    // MARK: Flights

    /// Of one server first, then of one primary, two, and so on: the median of rounds in which each has its turn.
    func flights(primaries: Int) async throws -> [Flights] {
        try await PrivateRedis.with(.init(listening: .tcp(.free))) { server in
            try await withContender(server.url) { contender in
                try await flights(upTo: primaries, [contender])
            }
        }
    }

    private func flights(upTo primaries: Int, _ contenders: [Contender]) async throws -> [Flights] {
        guard contenders.count <= primaries else { return try await rounds(contenders) }
        return try await PrivateCluster.with(.init(primaries: contenders.count)) { cluster in
            try await withContender(cluster.clusterURL) { contender in
                try await flights(upTo: primaries, contenders + [contender])
            }
        }
    }

    private func withContender<Result>(
        _ url: String,
        _ body: (Contender) async throws -> Result
    ) async throws -> Result {
        try await BenchRedis.with(url) { redis in
            try await BenchWorkers.withWorkers(Self.processes, url: url, namespace: namespace) { workers in
                try await body(Contender(redis: redis, workers: workers))
            }
        }
    }

    private func rounds(_ contenders: [Contender]) async throws -> [Flights] {
        var rounds = Array(repeating: [Flights](), count: contenders.count)
        // Inboxes are subscribed to in the first one, one for each partition.
        for contender in contenders { _ = try await flights(of: contender) }
        for _ in 0..<Self.rounds {
            for (index, contender) in contenders.enumerated() {
                rounds[index].append(try await flights(of: contender))
            }
        }
        return rounds.map { $0.sorted { $0.perSecond < $1.perSecond }[Self.rounds / 2] }
    }

    private func flights(of contender: Contender) async throws -> Flights {
        let before = try await contender.redis.statistics()
        for worker in contender.workers {
            try worker.send(.flights(callers: 128, seconds: isQuick ? 0.5 : 2, payload: 100))
        }
        var perSecond = 0.0
        var flights = 0
        for worker in contender.workers {
            guard case .flights(let count) = try await worker.answer() else { throw BenchWorkers.outOfTurn }
            guard count.failures == 0 else { throw CommandFailure("\(count.failures) uncontended flights failed") }
            perSecond += count.perSecond
            flights += count.flights
        }
        let after = try await contender.redis.statistics()
        return Flights(perSecond: perSecond, redisCPU: (after.cpu - before.cpu) * 1e6 / Double(max(flights, 1)))
    }

    // MARK: Wake-ups

    /// On a cluster of three primaries: rounds at rest and rounds while slots move, one after the other, take turns.
    ///
    /// - Returns: of flights on any keys, while all slots move; of flights in a few slots that move all the time, so
    ///   that one of sixteen flights meets a move of its own slot.
    func wakeUps() async throws -> (everywhere: WakeUps, inMovingSlots: WakeUps) {
        try await PrivateCluster.with { cluster in
            try await BenchRedis.with(cluster.clusterURL) { redis in
                try await BenchWorkers.withWorkers(2, url: redis.url, namespace: namespace) { workers in
                    let everywhere = try await wakeUps(of: workers, redis, cluster, partitions: Self.allPartitions)
                    let few = try await wakeUps(of: workers, redis, cluster, partitions: Self.fewPartitions)
                    return (everywhere, few)
                }
            }
        }
    }

    private func wakeUps(
        of workers: [BenchWorkers],
        _ redis: BenchRedis,
        _ cluster: PrivateCluster,
        partitions: Int
    ) async throws -> WakeUps {
        let bench = WakeUpBench(redis: redis, namespace: namespace)
        let flights = isQuick ? 30 : 100
        var keys = Self.keys(partitions: partitions).makeIterator()
        func next() -> String { keys.next() ?? "" }
        // So that most inboxes are subscribed to.
        _ = try await bench.run(workers, isQuick ? 60 : 400, key: next)
        var wakeUps = WakeUps()
        for _ in 0..<Self.rounds {
            wakeUps.rest.merge(try await bench.run(workers, flights, key: next).each)
            let mover = SlotMover(cluster, namespace: namespace, partitions: partitions)
            let start = MonotonicTime.now
            wakeUps.moving.merge(try await bench.run(workers, flights, key: next).each)
            wakeUps.moves += try await mover.stop()
            wakeUps.seconds += start.duration(to: .now) / .seconds(1)
        }
        return wakeUps
    }

    /// Keys of the group "bench" in the first partitions, without end. A partition is the checksum of group and key,
    /// and so is a slot.
    private static func keys(partitions: Int) -> some Sequence<String> {
        (0...).lazy.map { "wake-\(partitions)-\($0)" }
            .filter { Int(HashSlot(of: "bench:\($0)").number) % allPartitions < partitions }
    }
}

/// Moves the slots of some partitions from primary to primary, one after the other, until it is stopped.
private final class SlotMover: Sendable {
    private let isOver: Flag
    private let task: Task<Int, any Error>

    init(_ cluster: PrivateCluster, namespace: String, partitions: Int) {
        let isOver = Flag()
        self.isOver = isOver
        task = Task {
            var moves = 0
            while !isOver.value {
                let slot = Int(HashSlot(of: "{\(namespace):\(moves % partitions)}").number)
                try await cluster.move(slot, to: (try await cluster.owner(of: slot) + 1) % cluster.nodes.count)
                moves += 1
            }
            return moves
        }
    }

    /// Returns when the move that is under way is over; answers how many there were.
    func stop() async throws -> Int {
        isOver.set()
        return try await task.value
    }
}

private final class Flag: Sendable {
    private let flag = Atomic(false)

    var value: Bool { flag.load(ordering: .relaxed) }

    func set() { flag.store(true, ordering: .relaxed) }
}
