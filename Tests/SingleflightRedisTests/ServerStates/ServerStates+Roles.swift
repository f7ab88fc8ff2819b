import HiredisClient
import PrivateRedis
import SingleflightRedis
import TestSupport

extension ServerStates {
    static let roles: [ServerState] = [
        ServerState(
            name: "read-only: it became a replica",
            strike: { try await $0.ask("REPLICAOF 127.0.0.1 1") },
            heal: { try await $0.ask("REPLICAOF NO ONE") },
            unserved: .failed(.unavailable, "primary")
        ),
        ServerState(
            name: "a replica without its primary, `replica-serve-stale-data no`",
            configuration: ["replica-serve-stale-data no"],
            strike: { try await $0.ask("REPLICAOF 127.0.0.1 1") },
            heal: { try await $0.ask("REPLICAOF NO ONE") },
            unserved: .failed(.unavailable, "primary")
        ),
        tooFewReplicas,
        ServerState(
            name: "cannot save to disk, `stop-writes-on-bgsave-error yes`",
            configuration: ["enable-protected-configs yes"],
            strike: { stage in
                try await stage.ask("CONFIG SET save \"3600 1\"")
                // The name of a directory, the one above the server's own: nothing can be renamed to that.
                try await stage.ask("CONFIG SET dbfilename ..")
                try await stage.ask("BGSAVE")
                try await stage.ask("INFO persistence") { $0.contains("rdb_last_bgsave_status:err") }
            },
            heal: { try await $0.ask("CONFIG SET stop-writes-on-bgsave-error no") },
            unserved: .failed(.unavailable, "MISCONF", "see its log")
        ),
        ServerState(
            name: "a node of a cluster that has lost its slots",
            configuration: ["cluster-enabled yes"],
            prepare: { stage in
                try await stage.ask("CLUSTER ADDSLOTS \(allSlots)")
                try await stage.ask("CLUSTER INFO") { $0.contains("cluster_state:ok") }
            },
            strike: { try await $0.ask("CLUSTER DELSLOTS \(allSlots)") },
            heal: { stage in
                try await stage.ask("CLUSTER ADDSLOTS \(allSlots)")
                try await stage.ask("CLUSTER INFO") { $0.contains("cluster_state:ok") }
            },
            // The cluster takes a while to find itself well.
            brief: .init(newcomer: [down], leader: [down], follower: [.value, .expired, down]),
            lasting: .cutOff(down)
        ),
    ]

    private static let tooFewReplicas: ServerState = {
        var state = ServerState(
            name: "too few replicas, `min-replicas-to-write 1`",
            strike: { try await $0.ask("CONFIG SET min-replicas-to-write 1") },
            heal: { try await $0.ask("CONFIG SET min-replicas-to-write 0") },
            unserved: .failed(.unavailable, "NOREPLICAS", "min-replicas-to-write")
        )
        if ServerVersion.current.isBefore7 { (state.brief, state.lasting) = state.orAnswered }
        return state
    }()

    /// One by one: ranges came with 7.0.
    private static let allSlots = (0..<16_384).map(String.init).joined(separator: " ")
    private static let down: ExpectedAnswer = .failed(.unavailable, "CLUSTERDOWN", "CLUSTER INFO")
}
