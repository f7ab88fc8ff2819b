import HiredisClient
import PrivateRedis
import SingleflightRedis

extension ServerStates {
    static let busy: [ServerState] = [
        ServerState(
            name: "busy with a script, until SCRIPT KILL",
            configuration: ["busy-reply-threshold 20"],
            strike: { stage in
                stage.occupy(["EVAL", "while true do end", "0"])
                try await stage.ask("PING") { $0.contains("BUSY") }
            },
            heal: { stage in
                try await stage.ask("SCRIPT KILL")
                try await stage.ask("PING") { !$0.contains("BUSY") }
            },
            unserved: .failed(.unavailable, "BUSY", "SCRIPT KILL")
        ),
        ServerState(
            name: "busy with a script that has written, until it is killed",
            memory: .isLost,
            configuration: ["busy-reply-threshold 20"],
            strike: { stage in
                stage.occupy(["EVAL", "redis.call('SET', 'x', 1, 'PX', 1000) while true do end", "0"])
                try await stage.ask("PING") { $0.contains("BUSY") }
            },
            heal: { stage in
                await stage.redis.kill()
                try await stage.redis.restart()
            },
            brief: .init(
                newcomer: [.failed(.unavailable, "BUSY", "SCRIPT KILL")],
                leader: [.failed(.unavailable, "BUSY", "SCRIPT KILL")],
                follower: [.canceled(.storeLostFlight), .failed(.unavailable)]
            ),
            lasting: .cutOff(.failed(.unavailable, "BUSY", "SCRIPT KILL"))
        ),
        ServerState(
            name: "loads its data",
            // Before, nothing is answered between two mebibytes of data.
            needs7: true,
            configuration: ["enable-debug-command yes", "loading-process-events-interval-bytes 1024"],
            prepare: { try await $0.ask("DEBUG POPULATE 20000") },
            strike: { stage in
                try await stage.ask("CONFIG SET key-load-delay 500")
                stage.occupy(["DEBUG", "RELOAD"])
                try await stage.ask("PING") { $0.contains("LOADING") }
            },
            heal: { stage in
                try await stage.ask("CONFIG SET key-load-delay 0")
                try await stage.ask("PING") { !$0.contains("LOADING") }
            },
            unserved: .failed(.unavailable, "LOADING", "loads")
        ),
        ServerState(
            name: "frozen, SIGSTOP",
            strike: { $0.redis.pause() },
            heal: { $0.redis.resume() },
            brief: silence(.value, nothingHeard, noConnection, noHandshake),
            lasting: silence(nothingHeard, noConnection, noHandshake)
        ),
        ServerState(
            name: "asleep, DEBUG SLEEP",
            configuration: ["enable-debug-command yes"],
            strike: { $0.occupy(["DEBUG", "SLEEP", "\(Double($0.milliseconds) / 1000)"]) },
            heal: { try await $0.ask("PING") },
            brief: silence(.value, nothingHeard, noConnection, noHandshake),
            lasting: silence(nothingHeard, noConnection, noHandshake)
        ),
        ServerState(
            name: "paused, CLIENT PAUSE ALL",
            strike: { $0.occupy(["CLIENT", "PAUSE", "\($0.milliseconds)", "ALL"]) },
            heal: { try await $0.ask("PING") },
            brief: silence(.value, nothingHeard, noConnection, noHandshake),
            lasting: silence(nothingHeard, noConnection, noHandshake)
        ),
        ServerState(
            name: "paused for writes, CLIENT PAUSE WRITE",
            strike: { try await $0.ask("CLIENT PAUSE 60000 WRITE") },
            heal: { try await $0.ask("CLIENT UNPAUSE") },
            brief: silence(.value, nothingHeard, noConnection, noHandshake),
            lasting: silence(nothingHeard, noConnection, noHandshake)
        ),
    ]

    private static let nothingHeard: ExpectedAnswer = .failed(.timedOut, "did not answer in time")
    /// The request that was not answered has cost its connection, and no other can be made.
    private static let noConnection: ExpectedAnswer = .failed(.unavailable, "did not answer in time")

    /// The same, where the new connection is accepted by the kernel and the server does not speak.
    private static let noHandshake: ExpectedAnswer = .failed(.unavailable, "did not answer the handshake in time")

    /// Nothing is heard of the server, neither good nor bad.
    private static func silence(_ follower: ExpectedAnswer...) -> ServerState.Answers {
        ServerState.Answers(
            newcomer: [nothingHeard, noConnection, noHandshake],
            leader: [nothingHeard, noConnection, noHandshake, .leaseEnded],
            follower: follower
        )
    }
}
