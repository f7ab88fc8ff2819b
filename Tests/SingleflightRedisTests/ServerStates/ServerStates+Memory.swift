import HiredisClient
import PrivateRedis
import SingleflightRedis
import TestSupport

extension ServerStates {
    static let memory: [ServerState] =
        [full]
        + [
            "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random",
            "volatile-ttl",
        ]
        .map(evicting)

    private static let full: ServerState = {
        let oom: ExpectedAnswer = .failed(.unavailable, "OOM", "raise maxmemory")
        // What keeps a flight going, and what ends it, may run all the same.
        let goesOn = ServerState.Answers(newcomer: [oom], leader: [.value], follower: [.value])
        var state = ServerState(
            name: "out of memory, `noeviction`",
            strike: { try await $0.ask("CONFIG SET maxmemory 1") },
            heal: { try await $0.ask("CONFIG SET maxmemory 0") },
            unserved: oom
        )
        (state.brief, state.lasting) = ServerVersion.current.isBefore7 ? state.orAnswered : (goesOn, goesOn)
        return state
    }()

    /// Full up to the brim, and written to until the lease is gone: under a `volatile` policy with keys that have no
    /// time to live, so that the leases are the only ones to go.
    private static func evicting(_ policy: String) -> ServerState {
        let gone: ExpectedAnswer = .canceled(.storeLostFlight)
        let answers = ServerState.Answers(
            newcomer: [.value, .canceled(.leaseLost), .failed(.unavailable, "OOM", "raise maxmemory")],
            leader: [.value, .canceled(.leaseLost)],
            follower: [.value, gone]
        )
        return ServerState(
            name: "evicts by `\(policy)`",
            memory: .isLost,
            configuration: ["maxmemory-policy \(policy)"],
            strike: { stage in
                let used = Int(try await stage.field("used_memory", ofInfo: "memory") ?? "") ?? 0
                try await stage.ask("CONFIG SET maxmemory \(used + 200_000)")
                for index in 0..<3_000 {
                    _ = try? await stage.ask("SET filler:\(index) " + String(repeating: "x", count: 2_000))
                    let left = try await stage.ask("KEYS sf2:*led").array ?? []
                    if left.isEmpty { break }
                }
            },
            heal: { stage in
                try await stage.ask("CONFIG SET maxmemory 0")
                for name in try await stage.ask("KEYS filler:*").array ?? [] {
                    try await stage.ask("DEL \(name.string ?? "")")
                }
            },
            brief: answers,
            lasting: answers
        )
    }
}
