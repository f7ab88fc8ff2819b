import PrivateRedis

/// Scene 5: Redis goes away in mid-flight and comes back empty.
struct RestartedRedisScene: DemoScene {
    let title = "Redis restarted in mid-flight"

    func obstacle(_ configuration: DemoConfiguration) -> String? {
        configuration.redis == nil ? nil : "your own Redis isn't restarted"
    }

    func play(on stage: DemoStage) async throws -> [Check] {
        guard let redis = stage.redis else { return [] }
        let key = "restarted"
        let (batch, _) = try await stage.holdFlight(of: key)
        try await redis.restart()
        try await stage.origin.release(key)
        let total = try await stage.wait(for: batch, "every caller to have a value or an error") { $0.isDone() }.total()
        let hits = try await stage.hits(on: key)
        let workers = stage.configuration.workers
        return [
            Check("callers with a value or a clear error", expected: stage.callsOnOneKey, seen: total.calls),
            Check("callers with a wrong value", expected: 0, seen: total.wrong),
            // Processes that have lost Redis compute for themselves, each of them once.
            Check("origin hits", expected: "1 to \(workers)", seen: "\(hits)", passed: (1...workers).contains(hits)),
        ] + (try await stage.checkNextFlight(of: key))
    }
}
