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
struct LoadReport: Encodable, Sendable {
    let processes: Int
    let callers: Int
    let keys: Int
    let zipf: Double
    let payload: Int
    /// How many servers the keys were spread over.
    var primaries = 1
    let count: LoadCount
    /// Microseconds of the servers' processor time, and their commands, per flight.
    let redisCPU: Double
    let redisCalls: Double

    var callsPerSecond: Double { count.seconds > 0 ? Double(count.calls) / count.seconds : 0 }
    var runsPerSecond: Double { count.seconds > 0 ? Double(count.runs) / count.seconds : 0 }
    var callsPerRun: Double { count.runs > 0 ? Double(count.calls) / Double(count.runs) : 0 }

    /// The time below which this share of the wake-ups lies; nil without any.
    func wakeUp(_ quantile: Double) -> Duration? {
        count.wakeUps.count == 0 ? nil : .nanoseconds(count.wakeUps.quantile(quantile))
    }
}

extension LoadReport {
    /// The unit is part of the name: a number of JSON has none of its own.
    private enum CodingKeys: String, CodingKey {
        case processes, callers, keys, zipf, payload, primaries, seconds, calls, flights, failures, callsPerSecond,
            flightsPerSecond, callsPerFlight, wakeUpSamples, wakeUpP50Microseconds, wakeUpP90Microseconds,
            wakeUpP99Microseconds, wakeUpP999Microseconds, redisCPUMicrosecondsPerFlight, redisCallsPerFlight
    }

    func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(processes, forKey: .processes)
        try values.encode(callers, forKey: .callers)
        try values.encode(keys, forKey: .keys)
        try values.encode(zipf, forKey: .zipf)
        try values.encode(payload, forKey: .payload)
        try values.encode(primaries, forKey: .primaries)
        try values.encode(count.seconds, forKey: .seconds)
        try values.encode(count.calls, forKey: .calls)
        try values.encode(count.runs, forKey: .flights)
        try values.encode(count.failures, forKey: .failures)
        try values.encode(callsPerSecond, forKey: .callsPerSecond)
        try values.encode(runsPerSecond, forKey: .flightsPerSecond)
        try values.encode(callsPerRun, forKey: .callsPerFlight)
        try values.encode(count.wakeUps.count, forKey: .wakeUpSamples)
        let percentiles: [(CodingKeys, Double)] = [
            (.wakeUpP50Microseconds, 0.5), (.wakeUpP90Microseconds, 0.9), (.wakeUpP99Microseconds, 0.99),
            (.wakeUpP999Microseconds, 0.999),
        ]
        for (key, quantile) in percentiles {
            try values.encodeIfPresent(wakeUp(quantile).map { $0 / .microseconds(1) }, forKey: key)
        }
        try values.encode(redisCPU, forKey: .redisCPUMicrosecondsPerFlight)
        try values.encode(redisCalls, forKey: .redisCallsPerFlight)
    }
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
                primaries: redis.primaries.count,
                count: total,
                redisCPU: (after.cpu - before.cpu) * 1e6 / flights,
                redisCalls: Double(calls) / flights
            )
        }
    }
}
