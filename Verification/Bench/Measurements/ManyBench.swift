import SingleflightCLI
import SingleflightRedis

/// What calls for many keys cost beside as many calls for one key each, made at the same time.
struct ManyBench {
    struct Figures {
        /// Of one call for all keys, in ms: the median.
        let milliseconds: Double
        /// The server's processor time for a key, in µs: of calls for all keys, and of calls for one.
        let serverTime: Double
        let serverTimeOfOne: Double
        /// The time until the last of as many calls for one key each has its value, in ms: the median.
        let millisecondsOfOne: Double
    }

    let redis: BenchRedis
    let namespace: String

    /// - Parameters:
    ///   - keys: how many keys a call names.
    ///   - rounds: how many calls of each kind, in turns.
    func run(keys: Int, rounds: Int) async throws -> Figures {
        var configuration = BenchSettings.steady.store
        configuration.namespace = self.namespace
        return try await RedisLeaseStore.withConnection(to: self.redis.url, configuration: configuration) { store in
            let group = try DistributedGroup<Int, Int>(
                "many",
                store: store,
                configuration: BenchSettings.steady.group
            )
            // Connected, and the scripts loaded.
            _ = try await group.value(-1) { _ in 0 }
            var (many, one): ([Double], [Double]) = ([], [])
            var (manyCPU, oneCPU) = (0.0, 0.0)
            for _ in 0..<rounds {
                let (time, cpu) = try await self.measured {
                    let values = await group.values(0..<keys) { led in
                        Dictionary(uniqueKeysWithValues: led.keys.map { ($0, $0) })
                    }
                    guard values.allSatisfy({ key, value in (try? value.get()) == key }) else {
                        throw CommandFailure("a call for \(keys) keys got no value for some")
                    }
                }
                many.append(time)
                manyCPU += cpu
                let (timeOfOne, cpuOfOne) = try await self.measured {
                    try await withThrowingTaskGroup(of: Void.self) { tasks in
                        for key in 0..<keys {
                            tasks.addTask { _ = try await group.value(key) { $0.key } }
                        }
                        try await tasks.waitForAll()
                    }
                }
                one.append(timeOfOne)
                oneCPU += cpuOfOne
            }
            let count = Double(keys * rounds)
            return Figures(
                milliseconds: many.sorted()[rounds / 2],
                serverTime: manyCPU * 1e6 / count,
                serverTimeOfOne: oneCPU * 1e6 / count,
                millisecondsOfOne: one.sorted()[rounds / 2]
            )
        }
    }

    /// The time that it takes, in ms, and the server's processor time, in s.
    private func measured(_ body: () async throws -> Void) async throws -> (Double, Double) {
        let before = try await self.redis.statistics().cpu
        let start = MonotonicTime.now
        try await body()
        let time = start.duration(to: .now) / .milliseconds(1)
        return (time, try await self.redis.statistics().cpu - before)
    }
}
