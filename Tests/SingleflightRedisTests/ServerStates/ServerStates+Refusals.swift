import HiredisClient
import PrivateRedis
import SingleflightRedis
import TestSupport

extension ServerStates {
    static let refusals: [ServerState] = [
        ServerState(
            name: "asks for a password that nobody gives (NOAUTH)",
            login: .anyone,
            strike: { stage in
                try await stage.ask("CONFIG SET requirepass other")
                try await stage.cutOff()
            },
            heal: { try await $0.ask("CONFIG SET requirepass \"\"") },
            refused: .failed(.refused, "NOAUTH", "password")
        ),
        ServerState(
            name: "the password was changed (WRONGPASS)",
            login: .worker,
            strike: { stage in
                try await stage.ask("ACL SETUSER worker resetpass >other")
                try await stage.cutOff()
            },
            heal: { try await $0.ask("ACL SETUSER worker resetpass >pw") },
            refused: .failed(.refused, "WRONGPASS", "password")
        ),
        ServerState(
            name: "the user was deleted",
            login: .worker,
            strike: { try await $0.ask("ACL DELUSER worker") },
            heal: { try await $0.ask("ACL SETUSER \(ServerStage.worker)") },
            refused: .failed(.refused, "WRONGPASS", "password")
        ),
        ServerState(
            name: "the user was turned off, and its connections cut",
            login: .worker,
            strike: { stage in
                try await stage.ask("ACL SETUSER worker off")
                try await stage.cutOff()
            },
            heal: { try await $0.ask("ACL SETUSER worker on") },
            refused: .failed(.refused, "WRONGPASS", "password")
        ),
        ServerState(
            name: "the user lost the right to `SET` (NOPERM)",
            login: .worker,
            strike: { try await $0.ask("ACL SETUSER worker -set") },
            heal: { try await $0.ask("ACL SETUSER worker +set") },
            // Scripts end flights: they must not end half of one. The leader hands its lease back until it can.
            brief: .init(
                newcomer: [mayNotSet],
                leader: [scriptMayNot],
                follower: [.expired, .canceled(.leaderLeft)]
            ),
            lasting: .init(newcomer: [mayNotSet], leader: [.leaseEnded], follower: [scriptMayNot])
        ),
        ServerState(
            name: "the user lost the right to scripts",
            login: .worker,
            strike: { try await $0.ask("ACL SETUSER worker -evalsha -eval") },
            heal: { try await $0.ask("ACL SETUSER worker +evalsha +eval") },
            refused: .failed(.refused, "NOPERM", "evalsha", "doctor")
        ).unsharedWithoutScripts,
        ServerState(
            name: "the user lost the right to `GET`, which only scripts use",
            login: .worker,
            strike: { try await $0.ask("ACL SETUSER worker -get") },
            heal: { try await $0.ask("ACL SETUSER worker +get") },
            refused: scriptMayNot
        ).unsharedWithoutScripts,
        ServerState(
            name: "the user lost its keys",
            login: .worker,
            strike: { try await $0.ask("ACL SETUSER worker resetkeys ~other:*") },
            heal: { try await $0.ask("ACL SETUSER worker ~*") },
            refused: .failed(.refused, "NOPERM", " key", "doctor")
        ),
        ServerState(
            name: "the user lost its channels: nothing is heard, and nothing announced",
            login: .worker,
            strike: { try await $0.ask("ACL SETUSER worker resetchannels") },
            heal: { try await $0.ask("ACL SETUSER worker &*") },
            brief: .undisturbed,
            lasting: .stillLed
        ),
        ServerState(
            name: "the user lost the right to `PUBLISH`",
            login: .worker,
            strike: { try await $0.ask("ACL SETUSER worker -publish") },
            heal: { try await $0.ask("ACL SETUSER worker +publish") },
            brief: .undisturbed,
            lasting: .stillLed
        ),
        ServerState(
            name: "the user lost the right to `SUBSCRIBE`, and its inbox",
            login: .worker,
            strike: { stage in
                try await stage.ask("ACL SETUSER worker -subscribe")
                try await stage.ask("CLIENT KILL TYPE pubsub")
            },
            heal: { try await $0.ask("ACL SETUSER worker +subscribe") },
            brief: .undisturbed,
            lasting: .stillLed
        ),
    ]

    private static let mayNotSet: ExpectedAnswer = .failed(.refused, "NOPERM", "'set'", "doctor")
    /// Within a script servers have other words for it.
    private static let scriptMayNot: ExpectedAnswer = .failed(
        .refused,
        ServerVersion.current.isBefore72 ? "can't run this command" : "ACL failure in script",
        "doctor"
    )
}
