import HiredisClient
import PrivateRedis
import SingleflightRedis

extension ServerStates {
    static let settings: [ServerState] = [
        ServerState(
            name: "does not clean up, `set-active-expire 0`",
            configuration: ["enable-debug-command yes"],
            strike: { try await $0.ask("DEBUG SET-ACTIVE-EXPIRE 0") },
            heal: { try await $0.ask("DEBUG SET-ACTIVE-EXPIRE 1") },
            brief: .undisturbed,
            lasting: .stillLed
        ),
        ServerState(
            name: "probes its clients every second, `tcp-keepalive 1`",
            strike: { try await $0.ask("CONFIG SET tcp-keepalive 1") },
            heal: { try await $0.ask("CONFIG SET tcp-keepalive 300") },
            brief: .undisturbed,
            lasting: .stillLed
        ),
    ]
}
