import HiredisClient
import SingleflightRedis

/// Whether the server can be talked to at all, and for how long still.
extension DoctorRules {
    static func connection(_ facts: RedisFacts, at now: Duration) -> Finding {
        if let failure = facts.failure { return broken(failure) }
        guard let end = facts.certificateEnd else { return .ok("connection", "made", "The server lets this user in.") }
        let left = end - now
        let found = "made by TLS; the server's certificate ends in \(DurationText.describe(max(left, .zero)))"
        let meaning = "No process can connect once it has ended."
        if left < .seconds(86_400) {
            return .fail("connection", found, meaning, do: "Renew the server's certificate now.")
        }
        if left < .seconds(14 * 86_400) {
            return .warn("connection", found, meaning, do: "Renew the server's certificate.")
        }
        return .ok("connection", found, "The server lets this user in.")
    }

    /// No connection came about, or the server stopped to answer.
    private static func broken(_ failure: LeaseStoreError) -> Finding {
        let server = (failure.underlying as? RedisClientError)?.serverError
        return .fail("connection", words(of: failure), meaning(failure), do: advice(failure, server))
    }

    private static func meaning(_ failure: LeaseStoreError) -> String {
        failure.code == .refused ? "The server does not let this user in." : "No process can lead or follow from here."
    }

    /// What failed. What the error advises is left out: here the advice is a line of its own, and is never to run
    /// doctor.
    private static func words(of failure: LeaseStoreError) -> String {
        guard let client = failure.underlying as? RedisClientError, let server = client.serverError else {
            return failure.message
        }
        return "\(client.message): \(server.message)"
    }

    private static func advice(_ failure: LeaseStoreError, _ server: RedisServerError?) -> String {
        if failure.code == .invalidRequest { return "Change the URL." }
        guard let server else {
            return failure.code == .timedOut
                ? "See whether the server hangs, or something between here and there."
                : "See whether the server runs, and whether the URL names its host, port and user."
        }
        return switch server.code {
        case "NOAUTH": "Put user and password into the URL."
        case "WRONGPASS": "See user and password of the URL, and that the user is on (ACL GETUSER)."
        case "NOPERM": "As an administrator, give the user the command that it names: ACL SETUSER name +command"
        case "DENIED": "The server lets in local clients only: set a password for it, or bind it."
        case "LOADING", "BUSY": "Try again when the server is done."
        case "MISCONF": "Turn persistence off (save \"\"), or repair the disk it saves to."
        case _ where server.message.contains("max number of clients"):
            "Raise maxclients, or see who holds the connections (CLIENT LIST on one that is there already)."
        case _ where server.message.contains("unknown command"):
            "Take rename-command out of the server's configuration."
        default: "See what the server says."
        }
    }
}
