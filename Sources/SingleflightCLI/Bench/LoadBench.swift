/// What a load run found.
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
    let callers: Int
    let keys: Int
    let zipf: Double
    let seconds: Double
    let payload: Int
    let work: Duration
    let redis: BenchRedis

    func run() async throws -> LoadReport {
        let namespace = "bench-\(UInt32.random(in: 0 ... .max))"
        return try await BenchWorkerHandle.withWorkers(processes, url: redis.url, namespace: namespace) { workers in
            let before = try await redis.statistics()
            for worker in workers {
                try worker.send(
                    .load(callers: callers, keys: keys, skew: zipf, seconds: seconds, payload: payload, work: work)
                )
            }
            var total = LoadCount()
            for worker in workers {
                guard case .load(let count) = try await worker.answer() else { throw BenchWorkerHandle.outOfTurn }
                total.add(count)
            }
            let after = try await redis.statistics()
            let flights = Double(max(total.runs, 1))
            let calls = after.commands.reduce(0) { $0 + $1.value.calls - before.calls($1.key) }
            return LoadReport(
                processes: processes,
                callers: callers,
                keys: keys,
                zipf: zipf,
                payload: payload,
                count: total,
                redisCPU: (after.cpu - before.cpu) * 1e6 / flights,
                redisCalls: Double(calls) / flights
            )
        }
    }
}
