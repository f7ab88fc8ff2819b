import HiredisClient
import PrivateRedis
import SingleflightRedis

extension ServerStates {
    static let losses: [ServerState] = [
        ServerState(
            name: "was emptied, FLUSHALL",
            memory: .isLost,
            strike: { try await $0.ask("FLUSHALL") },
            heal: { _ in },
            brief: .emptied,
            lasting: .emptied
        ),
        ServerState(
            name: "the lease was deleted, DEL",
            memory: .isLost,
            strike: { stage in
                for name in try await stage.ask("KEYS sf2:*").array ?? [] {
                    try await stage.ask("DEL \(name.string ?? "")")
                }
            },
            heal: { _ in },
            brief: .emptied,
            lasting: .emptied
        ),
        ServerState(
            name: "databases were exchanged, SWAPDB",
            memory: .comesBack,
            strike: { try await $0.ask("SWAPDB 0 1") },
            heal: { try await $0.ask("SWAPDB 0 1") },
            // The lease is back before it would have ended, and nobody renews it any more. On a slow machine it may be
            // back later than that: then the follower has asked while it was gone.
            brief: .init(
                newcomer: [.value],
                leader: [.canceled(.leaseLost)],
                follower: [.expired, .canceled(.storeLostFlight)]
            ),
            lasting: .emptied
        ),
        ServerState(
            name: "is down",
            memory: .isLost,
            strike: { await $0.redis.kill() },
            heal: { try await $0.redis.restart() },
            brief: .init(
                newcomer: [.failed(.unavailable, "cannot connect to")],
                leader: [.failed(.unavailable, "cannot connect to")],
                follower: [.canceled(.storeLostFlight), .failed(.unavailable, "cannot connect to")]
            ),
            lasting: .cutOff(.failed(.unavailable, "cannot connect to"))
        ),
        ServerState(
            name: "was restarted without its data",
            memory: .isLost,
            strike: { try await $0.redis.restart() },
            heal: { _ in },
            brief: .emptied,
            lasting: .emptied
        ),
        ServerState(
            name: "was restarted with its data, `appendonly yes`",
            configuration: ["enable-debug-command yes", "appendonly yes", "appendfsync always"],
            strike: { stage in
                let id = try await stage.field("run_id", ofInfo: "server") ?? ""
                stage.occupy(["DEBUG", "RESTART"])
                try await stage.ask("INFO server") { $0.contains("run_id:") && !$0.contains(id) }
            },
            heal: { _ in },
            brief: .undisturbed,
            lasting: .init(
                newcomer: [.value, .failed(.unavailable, "cannot connect to")],
                leader: [.value],
                follower: [.value]
            )
        ),
        ServerState(
            name: "forgets scripts over and over, SCRIPT FLUSH",
            strike: { $0.keepAsking("SCRIPT FLUSH") },
            heal: { await $0.endBackground() },
            brief: .undisturbed,
            lasting: .stillLed
        ),
    ]
}
