import Foundation

/// Scene 4: the leader sleeps through the end of its lease and wakes up with a result that nobody may have, since
/// another process leads by then.
struct PausedLeaderScene: DemoScene {
    let title = "a leader paused past its lease (SIGSTOP)"

    func obstacle(_ configuration: DemoConfiguration) -> String? { needsFollowers(configuration) }

    func play(on stage: DemoStage) async throws -> [Check] {
        let key = "paused"
        let (batch, leader) = try await stage.holdFlight(of: key)
        await stage.pause(leader)
        // The answer waits in the paused leader's socket: the first thing it finds when it wakes up.
        try await stage.origin.release(key)
        let followers = stage.all.subtracting([leader])
        try await stage.wait(for: batch, "the followers to be canceled") { $0.isDone(except: [leader]) }
        let (next, _) = try await stage.holdFlight(of: key, in: followers)
        stage.resume(leader)
        let ledger = try await stage.wait(for: batch, "the woken leader to be told") { $0.isDone() && !$0.led.isEmpty }
        try await stage.origin.release(key)
        let nextLedger = try await stage.wait(for: next, "the next flight of \(key)") { $0.isDone() }
        let (told, stale) = (ledger.total(of: followers), ledger.total(of: [leader]))
        let leads = ledger.led.filter { $0.worker == leader && $0.isCurrent }.count
        let calls = followers.count * stage.followersPerWorker
        return [
            Check("followers canceled", expected: calls, seen: told.canceledCount),
            Check("followers with the stale value", expected: 0, seen: told.valueCount),
            Check("the leader's own callers canceled", expected: stage.followersPerWorker, seen: stale.canceledCount),
            Check("operations that woke up and still led", expected: 0, seen: leads),
            Check("origin hits, of both flights", expected: 2, seen: try await stage.hits(on: key)),
            Check("next flight: callers with its value", expected: calls, seen: nextLedger.total().values[2] ?? 0),
        ]
    }
}
