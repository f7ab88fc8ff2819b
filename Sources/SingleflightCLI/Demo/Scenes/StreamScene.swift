/// Scene 6: everybody watches a leader count to a hundred; it is killed at the half, and one watcher comes late.
struct StreamScene: DemoScene {
    let title = "a streamed result, its leader killed"

    func obstacle(_ configuration: DemoConfiguration) -> String? { needsFollowers(configuration) }

    func play(on stage: DemoStage) async throws -> [Check] {
        let key = "counted"
        try await stage.origin.hold(key)
        let batch = stage.call([key], callers: 1, policy: .takeOver, counts: true)
        let half = try await stage.wait(for: batch, "all workers to see the leader count to \(Count.half)") {
            $0.isHalfway(1, stage.all)
        }
        guard let leader = half.leaders.first?.worker else { throw SceneStopped(description: "nobody counts") }
        let watchers = stage.all.subtracting([leader])
        await stage.kill(leader)
        try await stage.wait(for: batch, "another worker to count to \(Count.half) again") { $0.isHalfway(2, watchers) }
        try await stage.replace(leader)
        try await stage.waitUntilReady()
        let late = stage.call([key], callers: 1, in: [leader], policy: .takeOver, counts: true)
        try await stage.wait(for: late, "a worker that comes late to see what was counted") {
            $0.isHalfway(1, [leader])
        }
        try await stage.origin.release(key)
        let ledger = try await stage.wait(for: batch, "the end of the count") { $0.isDone(except: [leader]) }
        let lateLedger = try await stage.wait(for: late, "the end of the count, for the late worker") { $0.isDone() }
        let total = ledger.total(of: watchers)
        return [
            Check("workers that counted", expected: 2, seen: Set(ledger.leaders.map(\.worker)).count),
            Check("watchers told that it begins anew", expected: watchers.count, seen: total.restarts),
            Check("watchers that saw 1 to 100, in order", expected: watchers.count, seen: total.valueCount),
            Check("the late one saw them, too", expected: 1, seen: lateLedger.total().valueCount),
            Check("the late one was told of no restart", expected: 0, seen: lateLedger.total().restarts),
        ]
    }
}
