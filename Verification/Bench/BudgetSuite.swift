import HiredisClient
import SingleflightCLI
import SingleflightRedis

/// Measures everything that has a budget, and its baselines in the same run.
///
/// Parts take turns on one private Redis; nothing is measured while something else is.
struct BudgetSuite {
    /// What can be measured by itself.
    enum Part: String, CaseIterable {
        case local, client, flights, many, wakeUps = "wake-ups", streams, herd, blocking, memory, takeover, exec,
            cluster
    }

    let isQuick: Bool
    let parts: Set<Part>
    let redis: BenchRedis
    let baselines: Baselines?
    let progress: ProgressLine

    /// Of everything that has a baseline; the baseline takes its turn in each.
    private static let rounds = 5

    private let namespace = "bench-\(UInt32.random(in: 0 ... .max))"

    func run() async throws -> BenchReport {
        var noise = MachineNoise()
        noise.sample()
        var rows: [BenchRow] = []
        var further: [String: Double] = [:]

        var local: LocalFigures?
        var client: [ClientBench.Figures] = []
        for part in Part.allCases where parts.contains(part) {
            progress.note(part.title, style: .dim)
            switch part {
            case .local:
                let figures = try await localFigures()
                rows += Self.rows(of: figures)
                local = figures
            case .client: client = try await measureClient(&rows)
            case .flights: try await measureFlights(&rows, &further)
            case .many: try await measureMany(&rows, &further)
            case .wakeUps: try await measureWakeUps(&rows, &further)
            case .streams: try await measureStreams(&rows, &further)
            case .herd: try await measureHerd(&rows)
            case .blocking: try await measureBlocking(&rows)
            case .memory: try await measureMemory(&rows)
            case .takeover: try await measureTakeover(&rows)
            case .exec: try await measureExec(&rows)
            case .cluster: try await measureCluster(&rows, &further)
            }
            noise.sample()
        }

        return BenchReport(
            machine: BenchReport.Machine(noise),
            isQuick: isQuick,
            rows: rows,
            local: local,
            client: client,
            further: further
        )
    }

    private func withWorkers<Result>(
        _ count: Int,
        arguments: [String] = [],
        _ body: ([BenchWorkers]) async throws -> Result
    ) async throws -> Result {
        try await BenchWorkers.withWorkers(
            count,
            url: redis.url,
            namespace: namespace,
            arguments: arguments,
            body
        )
    }

    private static func median(_ values: [Double]) -> Double? {
        values.isEmpty ? nil : values.sorted()[values.count / 2]
    }

    // MARK: Parts

    /// In processes of their own: one for the times, one that counts allocations, which makes them slower.
    private func localFigures() async throws -> LocalFigures {
        func figures(quick: Bool, environment: [String: String] = [:]) async throws -> LocalFigures {
            let lines = try await Baselines.output(
                ChildProcess.ownExecutable(),
                ["bench-local"] + (quick ? ["--quick"] : []),
                environment: environment
            )
            guard let line = lines.last else { throw CommandFailure("the local group's benchmark gave no figures") }
            return try JSONText.decode(LocalFigures.self, from: line)
        }
        var local = try await figures(quick: isQuick)
        if let baselines {
            let counted = try await figures(
                quick: true,
                environment: ["LD_PRELOAD": baselines.directory + "/allocations.so"]
            )
            local.withLeaderAllocations = counted.withLeaderAllocations
            local.defaultPolicyAllocations = counted.defaultPolicyAllocations
            local.bytesPerCaller = counted.bytesPerCaller
            local.bytesPerTask = counted.bytesPerTask
            local.bytesPerOpenFlight = counted.bytesPerOpenFlight
        }
        return local
    }

    private static func rows(of local: LocalFigures) -> [BenchRow] {
        let dictionary = local.bareDictionary
        var rows: [BenchRow] = [
            // Go's x/sync took 89 ns where the bare dictionary took 114, on the machine of docs/performance.md.
            .ratio(
                .atMost,
                0.78,
                "local call, .withLeader",
                local.withLeader,
                "ns",
                to: dictionary,
                "Mutex dictionary"
            ),
            .ratio(
                .atMost,
                1.3,
                "the same among 100 000 flights",
                local.withLeaderAmongOthers,
                "ns",
                to: local.withLeader,
                "among none"
            ),
            .ratio(.atMost, 0.7, "local call, default", local.defaultPolicy, "ns", to: local.naiveActor, "naive actor"),
        ]
        if let allocations = local.withLeaderAllocations {
            // One in a thousand calls may meet a table that grows.
            rows.append(.count(0.001, "allocations, .withLeader", allocations, "a call"))
        }
        rows += local.crowd.map {
            .ratio(
                .atMost,
                2,
                "\($0.callers) callers of one key",
                $0.nanoseconds,
                "ns each",
                to: $0.spawning,
                "their tasks alone"
            )
        }
        if let caller = local.bytesPerCaller, let task = local.bytesPerTask {
            rows.append(.count(1024, "memory of a waiting caller, beside its task", caller - task, "B"))
        }
        return rows
    }

    private func measureClient(_ rows: inout [BenchRow]) async throws -> [ClientBench.Figures] {
        let bench = ClientBench(client: redis.client)
        let scale = isQuick ? 1 : 3
        var all: [ClientBench.Figures] = []
        for (inFlight, commands) in [(1, 8_000), (16, 50_000), (64, 100_000), (256, 150_000), (1024, 150_000)] {
            var rounds: [(figures: ClientBench.Figures, baseline: Double?, baselineCPU: Double?)] = []
            for _ in 0..<Self.rounds {
                let figures = try await bench.run(inFlight: inFlight, commands: commands * scale)
                var baseline: Double?
                var cpu: Double?
                switch inFlight {
                case 1: baseline = try await baselines?.evaluateOneByOne(commands: commands * scale).p50
                case 256:
                    let reached = try await baselines?.evaluate(commands: commands * scale, inFlight: 256)
                    (baseline, cpu) = (reached?.perSecond, reached?.cpu)
                default: break
                }
                rounds.append((figures, baseline, cpu))
            }
            rounds.sort { $0.figures.perSecond < $1.figures.perSecond }
            let figures = rounds[rounds.count / 2].figures
            let baseline = Self.median(rounds.compactMap(\.baseline))
            all.append(figures)
            if inFlight == 1 {
                let p50 = Double(figures.latency.quantile(0.5)) / 1000
                let sync = baseline.map { $0 / 1000 }
                rows.append(.ratio(.atMost, 1.25, "EVALSHA, one at a time, p50", p50, "us", to: sync, "C, sync"))
            }
            if inFlight == 256 {
                rows.append(
                    .ratio(.atLeast, 0.95, "EVALSHA, 256 in flight", figures.perSecond, "/s", to: baseline, "C, async")
                )
                let cpu = Self.median(rounds.compactMap(\.baselineCPU)).map { $0 / 1000 }
                rows.append(
                    .ratio(.atMost, 1.7, "client CPU per command", figures.cpu / 1000, "us", to: cpu, "C, async")
                )
            }
        }
        return all
    }

    private func measureFlights(_ rows: inout [BenchRow], _ further: inout [String: Double]) async throws {
        let (rounds, single) = try await withWorkers(1) { workers in
            var rounds: [Round] = []
            _ = try await flights(workers[0], callers: 256)
            for _ in 0..<Self.rounds { rounds.append(try await flightRound(workers[0])) }
            return (
                rounds.sorted { $0.count.perSecond < $1.count.perSecond }, try await flights(workers[0], callers: 1)
            )
        }
        let middle = rounds[rounds.count / 2]
        let count = middle.count
        let number = Double(count.flights)
        rows += [
            .ratio(
                .atMost,
                1.3,
                "Redis CPU of an uncontended flight",
                middle.redisCPU * 1e6 / number,
                "us",
                to: Self.median(rounds.compactMap(\.cRedisCPU)).map { $0 * 1e6 },
                "C reference"
            ),
            .count(2.01, "Redis commands of one", Double(middle.commands) / number),
            .ratio(
                .atLeast,
                0.5,
                "flights, 256 keys",
                count.perSecond,
                "/s",
                to: middle.pipelined,
                "redis-benchmark -P 64"
            ),
            .ratio(.atLeast, 0.8, "flights, 256 in flight", count.perSecond, "/s", to: middle.c, "C reference"),
        ]
        further["flight, CPU of its process, us"] = Double(count.cpuNanoseconds) / number / 1000
        further["flight, 256 in flight, p50 us"] = Double(count.latency.quantile(0.5)) / 1000
        further["flight, 256 in flight, p99 us"] = Double(count.latency.quantile(0.99)) / 1000
        further["flight, one caller, p50 us"] = Double(single.latency.quantile(0.5)) / 1000
        further["flights per second, one caller"] = single.perSecond
    }

    private func flightRound(_ worker: BenchWorkers) async throws -> Round {
        let complete = try await redis.load(LeaseScripts.complete)
        let before = try await redis.statistics()
        let count = try await flights(worker, callers: 256)
        let after = try await redis.statistics()
        var round = Round(count: count, redisCPU: after.cpu - before.cpu)
        // Where the server compares and deletes, a STRLEN stands in front of each such command.
        let commands = ["set", "evalsha", "delifeq", "delifeq", "delex", "delex"]
        round.commands = commands.reduce(0) { $0 + after.calls($1) - before.calls($1) }
        if let baselines {
            let flights = isQuick ? 50_000 : 200_000
            let before = try await redis.statistics()
            round.c = try await baselines.flights(flights, inFlight: 256, complete: complete).perSecond
            round.cRedisCPU = (try await redis.statistics().cpu - before.cpu) / Double(flights)
            round.pipelined = try await baselines.pipelinedFlights(flights, complete: complete)
        }
        return round
    }

    private func flights(_ worker: BenchWorkers, callers: Int) async throws -> FlightCount {
        try worker.send(.flights(callers: callers, seconds: isQuick ? 1 : 2, payload: 100))
        guard case .flights(let count) = try await worker.answer() else { throw BenchWorkers.outOfTurn }
        guard count.failures == 0 else { throw CommandFailure("\(count.failures) uncontended flights failed") }
        return count
    }

    private struct Round {
        var count: FlightCount
        /// Seconds.
        var redisCPU: Double
        /// Scripts of uncontended flights do not call any of them.
        var commands = 0
        /// Seconds for each flight of the C reference.
        var cRedisCPU: Double?
        /// Flights per second of the C reference, and by redis-benchmark.
        var c: Double?
        var pipelined: Double?
    }

    private func measureMany(_ rows: inout [BenchRow], _ further: inout [String: Double]) async throws {
        for (keys, rounds) in [(10, 200), (100, 100), (1000, 20), (10_000, 4)] {
            let bench = ManyBench(redis: redis, namespace: namespace)
            let figures = try await bench.run(keys: keys, rounds: isQuick ? max(1, rounds / 4) : rounds)
            further["values of \(keys) keys, ms"] = figures.milliseconds
            further["\(keys) single values at once, ms"] = figures.millisecondsOfOne
            guard keys == 1000 else { continue }
            rows.append(
                .ratio(
                    .atMost,
                    1.2,
                    "Redis CPU of a key among 1000",
                    figures.serverTime,
                    "us",
                    to: figures.serverTimeOfOne,
                    "1000 single calls at once"
                )
            )
        }
    }

    private func measureStreams(_ rows: inout [BenchRow], _ further: inout [String: Double]) async throws {
        let bench = StreamBench(redis: redis, namespace: namespace)
        try await withWorkers(2) { workers in
            _ = try await bench.firstPart(workers, 10, series: "warm")
            let (part, message) = try await bench.firstPart(workers, isQuick ? 60 : 300, series: "measured")
            rows.append(
                .ratio(
                    .atMost,
                    1.5,
                    "first part of a stream elsewhere, p50",
                    Double(part.quantile(0.5)) / 1000,
                    "us",
                    to: Double(message.quantile(0.5)) / 1000,
                    "PUBLISH to a subscriber"
                )
            )
            further["first part of a stream elsewhere, p99 us"] = Double(part.quantile(0.99)) / 1000
            further["PUBLISH to a subscriber, p99 us"] = Double(message.quantile(0.99)) / 1000
        }
        for (megabytes, readers) in [(isQuick ? 100 : 1000, 1), (isQuick ? 4 : 20, 50)] {
            // New processes: what was in memory before is to count for nothing.
            let passage = try await withWorkers(2) { workers in
                _ = try await bench.passage(workers, megabytes: 4, readers: 1, series: "warm-\(readers)")
                return try await bench.passage(workers, megabytes: megabytes, readers: readers, series: "\(readers)")
            }
            let name = readers == 1 ? "stream" : "stream to \(readers) readers"
            further["\(name), MB/s"] = passage.rate
            further["\(name), Redis CPU per MB written, ms"] = passage.serverTime
            further["\(name), leader's memory growth, MB"] = passage.leaderGrowth
            further["\(name), reader's memory growth, MB"] = passage.readerGrowth
            guard readers == 1, let leader = passage.leaderGrowth, let reader = passage.readerGrowth else { continue }
            rows.append(.count(32, "memory of a stream's leader, of its length", leader, "MB"))
            rows.append(.count(32, "memory of a stream's reader, of its length", reader, "MB"))
        }
    }

    private func measureWakeUps(_ rows: inout [BenchRow], _ further: inout [String: Double]) async throws {
        let enter = try await redis.load(LeaseScripts.enter)
        let complete = try await redis.load(LeaseScripts.complete)
        for followers in [1, 20] {
            let samples = (isQuick ? 30 : 80) / (followers == 1 ? 1 : 2)
            let (latency, baseline) = try await withWorkers(followers + 1) { workers in
                var latency = LatencyHistogram()
                var baseline: [Double] = []
                _ = try await WakeUpBench(redis: redis, namespace: namespace).run(workers, 10, series: "warm")
                for round in 0..<Self.rounds {
                    let bench = WakeUpBench(redis: redis, namespace: namespace)
                    latency.merge(try await bench.run(workers, samples, series: "\(round)").last)
                    let reference = try await baselines?.wakeUp(
                        rounds: samples,
                        followers: followers,
                        enter: enter,
                        complete: complete
                    )
                    if let reference { baseline.append(reference.p50) }
                }
                return (latency, Self.median(baseline))
            }
            rows.append(
                .ratio(
                    .atMost,
                    1.3,
                    followers == 1 ? "wake-up elsewhere, p50" : "wake-up of \(followers) processes, the last, p50",
                    Double(latency.quantile(0.5)) / 1000,
                    "us",
                    to: baseline.map { $0 / 1000 },
                    "C reference"
                )
            )
            further["wake-up of \(followers), p99 us"] = Double(latency.quantile(0.99)) / 1000
        }
    }

    private func measureHerd(_ rows: inout [BenchRow]) async throws {
        guard let socketPath = redis.socketPath else { return }
        let (runs, commands) = try await withWorkers(4) { workers in
            var most = (runs: 0, commands: 0)
            for round in 0..<(isQuick ? 1 : 3) {
                var monitor = try await CommandMonitor(redis, socketPath: socketPath)
                for worker in workers { try worker.send(.herd(round: round, callers: 250, keys: 20)) }
                for worker in workers {
                    guard case .asked = try await worker.answer() else { throw BenchWorkers.outOfTurn }
                }
                for key in 0..<20 {
                    try await redis.untilWaiting(workers.count - 1, on: "herd:\(round):\(key)", namespace: namespace)
                }
                for worker in workers { try worker.send(.finish) }
                for worker in workers { try worker.send(.report) }
                var runs = 0
                for worker in workers {
                    guard case .herd(let led, 0) = try await worker.answer() else {
                        throw CommandFailure("callers of the herd got no value")
                    }
                    runs += led.count
                }
                most = (max(most.runs, runs), max(most.commands, try await monitor.finish()))
            }
            return most
        }
        rows.append(.count(20, "herd 4 x 250 x 20: runs", Double(runs)))
        rows.append(.count(200, "herd 4 x 250 x 20: Redis commands", Double(commands)))
    }

    /// A hundred inboxes wait for one flight; how long its completion keeps the server from everybody else.
    private func measureBlocking(_ rows: inout [BenchRow]) async throws {
        var times: [Double] = []
        var publishing: [Double] = []
        var leaseBytes = 0
        for round in 0..<Self.rounds {
            let bench = BlockingBench(redis: redis, namespace: namespace)
            let figures = try await bench.run(followers: 100, key: "crowded-\(round)", payload: 100)
            times.append(figures.milliseconds)
            publishing.append(try await bench.publish(100, payload: 100))
            leaseBytes = max(leaseBytes, figures.leaseBytes)
        }
        rows.append(.count(600, "memory of a lease in Redis", Double(leaseBytes), "B"))
        rows.append(
            .ratio(
                .atMost,
                3,
                "server blocked, 100 processes wait",
                times.sorted()[times.count / 2],
                "ms",
                to: Self.median(publishing),
                "100 PUBLISH"
            )
        )
    }

    /// What flights take of a process' heap, their tasks and the Redis client included.
    private func measureMemory(_ rows: inout [BenchRow]) async throws {
        guard let baselines else { return }
        let (bytes, allocations) = try await BenchWorkers.withWorkers(
            1,
            url: redis.url,
            namespace: namespace,
            environment: ["LD_PRELOAD": baselines.directory + "/allocations.so"]
        ) { workers in
            try workers[0].send(.open(flights: isQuick ? 2_000 : 5_000))
            guard case .opened(let bytes) = try await workers[0].answer() else { throw BenchWorkers.outOfTurn }
            // The first time is for what is allocated once.
            _ = try await flights(workers[0], callers: 64)
            let count = try await flights(workers[0], callers: 64)
            return (bytes, count.allocations.map { Double($0) / Double(max(count.flights, 1)) })
        }
        if let allocations { rows.append(.count(40, "allocations of an uncontended flight", allocations)) }
        if let bytes { rows.append(.count(9_000, "memory of a flight under way, tasks included", bytes, "B")) }
    }

    private func measureTakeover(_ rows: inout [BenchRow]) async throws {
        let lease = BenchSettings.short.lease
        var slowest = 0.0
        var quickest = Double.infinity
        for round in 0..<(isQuick ? 1 : 3) {
            quickest = min(quickest, try await redis.lifetime(of: lease) / .milliseconds(1))
            let takeover = try await withWorkers(2, arguments: ["--short-leases"]) { workers in
                let key = "killed-\(round)"
                try workers[0].send(.lead(key: key, payload: 100))
                guard case .leading = try await workers[0].answer() else { throw BenchWorkers.outOfTurn }
                try workers[1].send(.follow(key: key))
                try await redis.untilWaiting(1, on: key, namespace: namespace)
                let killed = MonotonicTime.now
                await workers[0].kill()
                guard case .tookOver(let time) = try await workers[1].answer() else {
                    throw BenchWorkers.outOfTurn
                }
                return killed.duration(to: time)
            }
            slowest = max(slowest, takeover / .milliseconds(1))
        }
        // A key dies when it is its time, and a follower has 200 ms more.
        let budget = 1 + Duration.milliseconds(200) / lease
        rows.append(
            .ratio(.atMost, budget, "takeover after SIGKILL", slowest, "ms", to: quickest, "a key that lives as long")
        )
    }
}

extension BudgetSuite {
    /// What `exec` adds to a command that does nothing: the median of pairs, one after the other.
    private func measureExec(_ rows: inout [BenchRow]) async throws {
        let folder = try ChildProcess.ownExecutable().split(separator: "/").dropLast().joined(separator: "/")
        let tool = "/\(folder)/singleflight"
        var overheads: [Double] = []
        for round in 0..<(isQuick ? 5 : 30) {
            let exec = ["exec", "--url", redis.url, "--namespace", namespace, "nothing-\(round)", "--", "/bin/true"]
            let (with, without) = (try await Self.time(tool, exec), try await Self.time("/bin/true", []))
            overheads.append((with - without) / .milliseconds(1))
        }
        rows.append(.count(60, "what exec adds to a command", overheads.sorted()[overheads.count / 2], "ms"))
    }

    private static func time(_ program: String, _ arguments: [String]) async throws -> Duration {
        let start = ContinuousClock.now
        let exit = try await ChildProcess(program, arguments).exit()
        guard exit == .code(0) else { throw CommandFailure("\(program) ended with \(exit)") }
        return start.duration(to: .now)
    }
}

extension BudgetSuite {
    /// Clusters beside one server; wake-ups while slots move beside those at rest.
    private func measureCluster(_ rows: inout [BenchRow], _ further: inout [String: Double]) async throws {
        let bench = ClusterBench(isQuick: isQuick, namespace: namespace)
        let flights = try await bench.flights(primaries: 3)
        let server = flights[0]
        further["one server by TCP, flights per second"] = server.perSecond
        for (primaries, cluster) in zip(1..., flights.dropFirst()) {
            let title = "cluster of \(primaries)"
            rows += [
                .ratio(.atLeast, 0.7, "\(title), flights", cluster.perSecond, "/s", to: server.perSecond, "one server"),
                .ratio(.atMost, 1.5, "\(title), Redis CPU", cluster.redisCPU, "us", to: server.redisCPU, "one server"),
            ]
        }
        let (wakeUps, met) = try await bench.wakeUps()
        func microseconds(_ histogram: LatencyHistogram, _ quantile: Double) -> Double {
            Double(histogram.quantile(quantile)) / 1000
        }
        for (quantile, name) in [(0.5, "p50"), (0.99, "p99")] {
            rows.append(
                .ratio(
                    .atMost,
                    3,
                    "wake-up while slots move, \(name)",
                    microseconds(wakeUps.moving, quantile),
                    "us",
                    to: microseconds(wakeUps.rest, quantile),
                    "at rest"
                )
            )
        }
        further["slots moved per second"] = Double(wakeUps.moves) / wakeUps.seconds
        further["wake-up while slots move, p99.9 us"] = microseconds(wakeUps.moving, 0.999)
        // One of sixteen of these flights meets a move of its own slot.
        for (name, histogram) in [("at rest", met.rest), ("while they move", met.moving)] {
            further["wake-up in few slots, \(name), p50 us"] = microseconds(histogram, 0.5)
            further["wake-up in few slots, \(name), p99 us"] = microseconds(histogram, 0.99)
        }
    }
}

extension BudgetSuite.Part {
    fileprivate var title: String {
        switch self {
        case .local: "the local group"
        case .client: "the Redis client"
        case .flights: "flights, end to end"
        case .many: "calls for many keys"
        case .wakeUps: "wake-ups in other processes"
        case .streams: "streams"
        case .herd: "herds"
        case .blocking: "a hundred waiting processes"
        case .memory: "allocations and memory of flights"
        case .takeover: "takeover"
        case .exec: "a command by exec"
        case .cluster: "clusters"
        }
    }
}
