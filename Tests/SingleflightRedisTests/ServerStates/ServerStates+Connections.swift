import HiredisClient
import PrivateRedis
import SingleflightRedis

extension ServerStates {
    static let connections: [ServerState] = [
        ServerState(
            name: "cuts command connections over and over, CLIENT KILL",
            strike: { $0.keepAsking("CLIENT KILL TYPE normal") },
            heal: { await $0.endBackground() },
            brief: .init(
                newcomer: [.value, lost, outOfReach],
                leader: [.value, lost, outOfReach],
                follower: [.value, lost, outOfReach]
            ),
            lasting: .init(
                newcomer: [.value, lost, outOfReach],
                leader: [.value, .leaseEnded, lost, outOfReach],
                follower: [.value, .expired, forgotten, lost, outOfReach]
            )
        ),
        ServerState(
            name: "cuts inboxes over and over, CLIENT KILL",
            strike: { $0.keepAsking("CLIENT KILL TYPE pubsub") },
            heal: { await $0.endBackground() },
            brief: .undisturbed,
            lasting: .stillLed
        ),
        ServerState(
            name: "takes no connections, `maxclients`",
            strike: { stage in
                try await stage.ask("CONFIG SET maxclients 1")
                try await stage.cutOff()
            },
            heal: { try await $0.ask("CONFIG SET maxclients 1000") },
            unserved: .failed(.unavailable, "max number of clients", "maxclients")
        ),
        ServerState(
            name: "cuts every connection for its memory, `maxmemory-clients`",
            needs7: true,
            // The connection that says so is cut, too, before it has the answer or after.
            strike: { stage in
                try await stage.ask("CONFIG SET maxmemory-clients 1") { $0 == "OK" || $0.contains("was lost") }
            },
            heal: { stage in try await stage.ask("CONFIG SET maxmemory-clients 0") { $0 == "OK" } },
            brief: .init(
                newcomer: [.value, lost, outOfReach],
                leader: [.value, lost, outOfReach],
                follower: [.value, lost, outOfReach]
            ),
            lasting: .init(
                newcomer: [.value, lost, outOfReach],
                leader: [.value, .leaseEnded, lost, outOfReach],
                follower: [.value, .expired, forgotten, lost, outOfReach]
            )
        ),
        ServerState(
            name: "cuts whoever is sent an announcement, `client-output-buffer-limit pubsub`",
            strike: { try await $0.ask("CONFIG SET client-output-buffer-limit \"pubsub 1 1 1\"") },
            heal: { try await $0.ask("CONFIG SET client-output-buffer-limit \"pubsub 32mb 8mb 60\"") },
            brief: .undisturbed,
            lasting: .stillLed
        ),
        ServerState(
            name: "cuts idle connections, `timeout 1`",
            strike: { try await $0.ask("CONFIG SET timeout 1") },
            heal: { try await $0.ask("CONFIG SET timeout 0") },
            brief: .undisturbed,
            lasting: .stillLed
        ),
    ]

    /// Each of its questions was cut off until nothing was known of the flight any more.
    private static let forgotten = ExpectedAnswer.canceled(.storeLostFlight)
    private static let lost: ExpectedAnswer = .failed(.unavailable, "the server closed the connection")
    /// No connection lasted for a command timeout.
    private static let outOfReach: ExpectedAnswer = .failed(.down, "the server is out of reach")
}
