import SingleflightCLI

/// How long a result takes to callers in other processes.
struct WakeUpBench {
    struct Latencies {
        /// Until the last of the followers has it.
        var last = LatencyHistogram()
        /// Until each has it.
        var each = LatencyHistogram()
    }

    let redis: BenchRedis
    let namespace: String

    /// The first worker leads, the others follow, once a round; from its hand-over until they have the value.
    func run(_ workers: [BenchWorkers], _ rounds: Int, series: String) async throws -> Latencies {
        var round = 0
        return try await run(workers, rounds) {
            defer { round += 1 }
            return "wake-\(workers.count)-\(series)-\(round)"
        }
    }

    /// - Parameter key: of the next round's flight.
    func run(_ workers: [BenchWorkers], _ rounds: Int, key nextKey: () -> String) async throws -> Latencies {
        var latencies = Latencies()
        for _ in 0..<rounds {
            let key = nextKey()
            try workers[0].send(.lead(key: key, payload: 100))
            guard case .leading = try await workers[0].answer() else { throw BenchWorkers.outOfTurn }
            for follower in workers.dropFirst() { try follower.send(.follow(key: key)) }
            try await redis.untilWaiting(workers.count - 1, on: key, namespace: namespace)
            // As in the C reference: the time that an operation takes.
            try await Task.sleep(for: .milliseconds(2))
            try workers[0].send(.finish)
            // Nobody but the flight is to be at work. The reports wait for its end by themselves.
            try await Task.sleep(for: .milliseconds(workers.count > 2 ? 10 : 2))
            for worker in workers { try worker.send(.report) }
            guard case .led = try await workers[0].answer() else { throw BenchWorkers.outOfTurn }
            var latest: Int64 = 0
            for follower in workers.dropFirst() {
                guard case .followed(let start, let end) = try await follower.answer() else {
                    throw BenchWorkers.outOfTurn
                }
                let latency = end.nanoseconds - start.nanoseconds
                latencies.each.record(nanoseconds: latency)
                latest = max(latest, latency)
            }
            latencies.last.record(nanoseconds: latest)
        }
        return latencies
    }
}

extension BenchRedis {
    /// Asks until this number of processes is registered on the flight of a benchmark's key.
    func untilWaiting(
        _ count: Int,
        on key: String,
        namespace: String,
        group: String = "bench"
    ) async throws {
        let deadline = MonotonicTime.now.advanced(by: .seconds(60))
        while true {
            let waiting = try await waiters(matching: "sf2:{\(namespace):*}:wait:\(group):\(key)")
            if waiting >= count { return }
            try Task.checkCancellation()
            guard .now < deadline else {
                throw CommandFailure("after a minute \(waiting) of \(count) processes wait for \(key)")
            }
        }
    }
}
