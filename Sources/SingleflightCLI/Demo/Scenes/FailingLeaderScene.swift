/// Scene 2: the work fails. Everybody hears so once, and nobody tries again in turn.
struct FailingLeaderScene: DemoScene {
    let title = "a failing leader"

    func play(on stage: DemoStage) async throws -> [Check] {
        let key = "failing"
        try await stage.origin.fail(key)
        let (batch, _) = try await stage.holdFlight(of: key)
        try await stage.origin.release(key)
        let ledger = try await stage.wait(for: batch, "the error to reach everybody") { $0.isDone() }
        let hits = try await stage.hits(on: key)
        try await stage.origin.mend(key)
        let total = ledger.total()
        return [
            Check("origin hits", expected: 1, seen: hits),
            Check("callers with the error", expected: stage.callsOnOneKey, seen: total.failureCount),
            Check("different errors", expected: 1, seen: total.failures.count),
        ] + (try await stage.checkNextFlight(of: key))
    }
}
