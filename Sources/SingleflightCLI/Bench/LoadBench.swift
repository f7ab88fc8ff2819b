/// Callers that ask for keys of a skewed distribution, each again and again, all processes for the same keys.
struct Load: Codable, Sendable {
    /// In each process.
    let callers: Int
    let keys: Int
    /// See ``SkewedKeys``.
    let skew: Double
    let seconds: Double
    /// Bytes of a result.
    let payload: Int
    /// What an operation takes.
    let work: Duration
}

/// What a load has come to.
struct LoadCount: Codable, Sendable {
    var calls = 0
    var runs = 0
    var failures = 0
    var seconds = 0.0
    /// From the leader's hand-over to a caller in another process.
    var wakeUps = LatencyHistogram()

    mutating func add(_ other: LoadCount) {
        calls += other.calls
        runs += other.runs
        failures += other.failures
        seconds = max(seconds, other.seconds)
        wakeUps.merge(other.wakeUps)
    }
}

/// What a run found.
struct LoadReport: Codable, Sendable {
    let processes: Int
    let callers: Int
    let keys: Int
    let zipf: Double
    let payload: Int
    let count: LoadCount
    /// Microseconds of the server's processor time, and of its commands, per flight.
    let redisCPU: Double
    let redisCalls: Double

    var callsPerSecond: Double { count.seconds > 0 ? Double(count.calls) / count.seconds : 0 }
    var runsPerSecond: Double { count.seconds > 0 ? Double(count.runs) / count.seconds : 0 }
    var callsPerRun: Double { count.runs > 0 ? Double(count.calls) / Double(count.runs) : 0 }
}

/// Worker processes that ask for the same keys as fast as they are answered.
struct LoadBench {
    let processes: Int
    let load: Load
    let redis: BenchRedis

    func run() async throws -> LoadReport {
        let namespace = "bench-\(UInt32.random(in: 0 ... .max))"
        return try await BenchWorkerHandle<Load, LoadCount>.withWorkers(
            processes,
            url: redis.url,
            namespace: namespace
        ) { workers in
            let before = try await redis.statistics()
            for worker in workers { try worker.send(load) }
            var total = LoadCount()
            for worker in workers { total.add(try await worker.answer()) }
            let after = try await redis.statistics()
            let flights = Double(max(total.runs, 1))
            let calls = after.commands.reduce(0) { $0 + $1.value.calls - before.calls($1.key) }
            return LoadReport(
                processes: processes,
                callers: load.callers,
                keys: load.keys,
                zipf: load.skew,
                payload: load.payload,
                count: total,
                redisCPU: (after.cpu - before.cpu) * 1e6 / flights,
                redisCalls: Double(calls) / flights
            )
        }
    }
}
