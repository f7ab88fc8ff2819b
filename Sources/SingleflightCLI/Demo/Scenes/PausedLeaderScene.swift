import Foundation

/// Scene 4: the leader sleeps through the end of its lease and wakes up with a result that nobody may have, since
/// another process leads by then.
///
/// What its own callers get depends on what it asks first. If it hands its result in, that is refused, and they are
/// canceled; if it renews its lease, it learns who leads, and they wait for that one. So the next flight goes on only
/// when either is known.
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
        // Beside the other followers of the next leader.
        let follows = stage.notice(key, followedBy: followers.count)
        defer { follows.cancel() }
        stage.resume(leader)
        try await stage.wait(for: batch, "the woken leader to be told, or to follow") { ledger in
            !ledger.led.isEmpty && (ledger.isDone() || stage.followed.contains(key))
        }
        try await stage.origin.release(key)
        let nextLedger = try await stage.wait(for: next, "the next flight of \(key)") { $0.isDone() }
        let ledger = try await stage.wait(for: batch, "the woken leader's callers") { $0.isDone() }
        let (told, own) = (ledger.total(of: followers), ledger.total(of: [leader]))
        let leads = ledger.led.filter { $0.worker == leader && $0.isCurrent }.count
        let calls = followers.count * stage.followersPerWorker
        return [
            Check("followers canceled", expected: calls, seen: told.canceledCount),
            Check("followers with the stale value", expected: 0, seen: told.valueCount),
            Check("its own callers with the stale value", expected: 0, seen: own.values[1] ?? 0),
            Check(
                "its own callers canceled, or with the next value",
                expected: stage.followersPerWorker,
                seen: own.canceledCount + (own.values[2] ?? 0)
            ),
            Check("operations that woke up and still led", expected: 0, seen: leads),
            Check("origin hits, of both flights", expected: 2, seen: try await stage.hits(on: key)),
            Check("next flight: callers with its value", expected: calls, seen: nextLedger.total().values[2] ?? 0),
        ]
    }
}
