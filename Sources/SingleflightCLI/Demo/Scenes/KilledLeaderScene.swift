import Foundation

/// Scene 3: the leader's process is killed while it computes.
struct KilledLeaderScene: DemoScene {
    let title = "a killed leader (SIGKILL)"

    func obstacle(_ configuration: DemoConfiguration) -> String? { needsFollowers(configuration) }

    func play(on stage: DemoStage) async throws -> [Check] {
        let canceled = try await playCanceled(on: stage)
        return canceled + (try await playTakeover(on: stage))
    }

    private func playCanceled(on stage: DemoStage) async throws -> [Check] {
        let key = "killed"
        let (batch, leader) = try await stage.holdFlight(of: key)
        let killed = MonotonicTime.now
        await stage.kill(leader)
        let ledger = try await stage.wait(for: batch, "the followers to be canceled") { $0.isDone(except: [leader]) }
        try await stage.origin.release(key)
        let followers = ledger.total(of: ledger.workers.subtracting([leader]))
        let hits = try await stage.hits(on: key)
        try await stage.replace(leader)
        try await stage.waitUntilReady()
        return [
            Check(
                "followers canceled",
                expected: stage.callsOnOneKey - stage.followersPerWorker,
                seen: followers.canceledCount
            ),
            Check(
                "the last of them told within",
                atMost: DemoConfiguration.lease + DemoConfiguration.lossMargin,
                seen: killed.duration(to: followers.end)
            ),
            Check("origin hits", expected: 1, seen: hits),
        ]
    }

    private func playTakeover(on stage: DemoStage) async throws -> [Check] {
        let key = "taken-over"
        let (batch, leader) = try await stage.holdFlight(of: key, policy: .takeOver)
        let killed = MonotonicTime.now
        await stage.kill(leader)
        // The origin lets go of the first request only with its connection; from here on it answers.
        try await stage.origin.release(key)
        let ledger = try await stage.wait(for: batch, "the value of the one that takes over") {
            $0.isDone(except: [leader])
        }
        let followers = ledger.total(of: ledger.workers.subtracting([leader]))
        let hits = try await stage.hits(on: key)
        try await stage.replace(leader)
        try await stage.waitUntilReady()
        let limit = DemoConfiguration.lease + DemoConfiguration.lossMargin + DemoConfiguration.originLatency
        return [
            Check("takeover: workers that took over", expected: 1, seen: ledger.leaders.count - 1),
            Check("takeover: origin hits", expected: 2, seen: hits),
            Check(
                "takeover: followers with its value",
                expected: stage.callsOnOneKey - stage.followersPerWorker,
                seen: followers.values[2] ?? 0
            ),
            Check("takeover: the last of them within", atMost: limit, seen: killed.duration(to: followers.end)),
        ]
    }
}
