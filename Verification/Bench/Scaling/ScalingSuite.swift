import Foundation
import SingleflightCLI

/// Measures how cost grows: with callers, open flights, keys, processes, payload and waiting processes.
struct ScalingSuite {
    let isQuick: Bool
    let redis: BenchRedis
    let progress: ProgressLine

    private let namespace = "bench-\(UInt32.random(in: 0 ... .max))"

    private var seconds: Double { isQuick ? 0.5 : 1.5 }

    func run() async throws -> ScalingReport {
        var noise = MachineNoise()
        noise.sample()
        progress.note("callers and open flights, in one process", style: .dim)
        var series = try await localSeries()
        noise.sample()
        progress.note("flights by keys, processes and payload", style: .dim)
        series += try await flightSeries()
        noise.sample()
        progress.note("wake-ups by waiting processes", style: .dim)
        series.append(try await wakeUpSeries())
        noise.sample()
        progress.note("server blocked by waiting processes", style: .dim)
        series.append(try await blockedSeries())
        noise.sample()
        return ScalingReport(machine: BenchReport.Machine(noise), series: series)
    }

    /// In a process of its own, as its figures have one.
    private func localSeries() async throws -> [ScalingSeries] {
        let lines = try await Baselines.output(
            ChildProcess.ownExecutable(),
            ["bench-local", "--growth"] + (isQuick ? ["--quick"] : [])
        )
        guard let line = lines.last else { throw CommandFailure("the local group's benchmark gave no figures") }
        return try JSONText.decode([ScalingSeries].self, from: line)
    }

    private func flightSeries() async throws -> [ScalingSeries] {
        var byKeys = ScalingSeries(.flightsPerSecondByKeys, x: "keys at once, one process")
        var byProcesses = ScalingSeries(.flightsPerSecondByProcesses, x: "processes, 64 keys at once each")
        var byPayload = ScalingSeries(.flightsPerSecondByPayload, x: "bytes of a result, 16 keys at once")
        var cpu = ScalingSeries(.redisCPU, x: "bytes of a result, 16 keys at once")
        for keys in [1, 4, 16, 64, 256, 1024] {
            let load = try await flights(processes: 1, callers: keys, payload: 100)
            byKeys.append(Double(keys), ["flights": load.perSecond])
        }
        for processes in [1, 2, 4, 8] {
            let load = try await flights(processes: processes, callers: 64, payload: 100)
            byProcesses.append(Double(processes), ["flights": load.perSecond])
        }
        for payload in [100, 1_000, 10_000, 100_000, 1_000_000, 4_000_000] {
            let load = try await flights(processes: 1, callers: 16, payload: payload)
            byPayload.append(Double(payload), ["flights": load.perSecond])
            cpu.append(Double(payload), ["Redis": load.redisCPU])
        }
        return [byKeys, byProcesses, byPayload, cpu]
    }

    private func flights(
        processes: Int,
        callers: Int,
        payload: Int
    ) async throws -> (perSecond: Double, redisCPU: Double) {
        try await BenchWorkers.withWorkers(processes, url: redis.url, namespace: namespace) { workers in
            let before = try await redis.statistics()
            for worker in workers { try worker.send(.flights(callers: callers, seconds: seconds, payload: payload)) }
            var perSecond = 0.0
            var flights = 0
            for worker in workers {
                guard case .flights(let count) = try await worker.answer() else { throw BenchWorkers.outOfTurn }
                guard count.failures == 0 else { throw CommandFailure("\(count.failures) uncontended flights failed") }
                perSecond += count.perSecond
                flights += count.flights
            }
            let after = try await redis.statistics()
            return (perSecond, (after.cpu - before.cpu) * 1e6 / Double(max(flights, 1)))
        }
    }

    private func wakeUpSeries() async throws -> ScalingSeries {
        var series = ScalingSeries(.wakeUp, x: "waiting processes")
        for followers in isQuick ? [1, 5, 20] : [1, 2, 5, 10, 20, 50, 100, 200] {
            let rounds = isQuick ? 20 : max(20, 200 / followers)
            let latencies = try await BenchWorkers.withWorkers(
                followers + 1,
                url: redis.url,
                namespace: namespace
            ) { workers in
                _ = try await WakeUpBench(redis: redis, namespace: namespace).run(workers, 3, series: "warm")
                return try await WakeUpBench(redis: redis, namespace: namespace).run(workers, rounds, series: "scale")
            }
            func microseconds(_ histogram: LatencyHistogram, _ quantile: Double) -> Double {
                Double(histogram.quantile(quantile)) / 1000
            }
            series.append(
                Double(followers),
                [
                    "each, p50": microseconds(latencies.each, 0.5),
                    "each, p99": microseconds(latencies.each, 0.99),
                    "each, p99.9": microseconds(latencies.each, 0.999),
                    "the last, p50": microseconds(latencies.last, 0.5),
                ]
            )
        }
        return series
    }

    private func blockedSeries() async throws -> ScalingSeries {
        var series = ScalingSeries(.blocked, x: "waiting processes")
        for followers in isQuick ? [1, 100] : [1, 3, 10, 30, 100, 300] {
            var values: [String: Double] = [:]
            for payload in [100, 10_000] {
                var times: [Double] = []
                for round in 0..<5 {
                    let bench = BlockingBench(redis: redis, namespace: namespace)
                    let key = "blocked-\(followers)-\(payload)-\(round)"
                    times.append(try await bench.run(followers: followers, key: key, payload: payload).milliseconds)
                }
                values["\(payload) B"] = times.sorted()[times.count / 2]
            }
            series.append(Double(followers), values)
        }
        return series
    }
}

extension BenchReport.Machine {
    init(_ noise: MachineNoise) {
        self.init(
            processors: ProcessInfo.processInfo.activeProcessorCount,
            system: ProcessInfo.processInfo.operatingSystemVersionString,
            noise: noise.ratio
        )
    }
}
