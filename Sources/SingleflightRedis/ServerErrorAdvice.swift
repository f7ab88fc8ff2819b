import HiredisClient

extension RedisServerError {
    /// What people who run the server, or this process, can do about it, in a few words; `nil` where the server's own
    /// words say all there is.
    var advice: String? {
        switch self.code {
        case "OOM": "raise maxmemory, or make room: until then nobody new can lead"
        case "READONLY": "the server is a replica: connect to its primary"
        case "MASTERDOWN": "the server is a replica that has lost its primary: connect to the primary"
        case "LOADING": "the server loads its data: wait until it has"
        case "BUSY": "somebody's script runs for too long: end it with SCRIPT KILL"
        case "MISCONF":
            "the server cannot save to disk: see its log and its disk space, or turn stop-writes-on-bgsave-error off"
        case "NOREPLICAS": "too few replicas are connected for min-replicas-to-write: bring them back, or lower it"
        case "CLUSTERDOWN": "the cluster does not serve all slots: see CLUSTER INFO"
        case "NOAUTH": "the server wants a password: put user and password into the URL"
        case "WRONGPASS": "check user and password of the URL, and that the user is on"
        case "NOPERM": Self.adviceOnRights
        case "DENIED": "the server lets in local clients only: set a password for it, or bind it"
        case "ERR": self.adviceOnUnspecified
        default: nil
        }
    }

    /// The server's words as they fit into a sentence: without control characters, and not too many. What stands in an
    /// error reply is up to the server, and may be 64 KiB of anything.
    var words: String {
        var words = ""
        for scalar in self.message.unicodeScalars {
            guard words.utf8.count < Self.longestWords else { return words + "…" }
            words.unicodeScalars.append(scalar.value < 0x20 || scalar.value == 0x7F ? " " : scalar)
        }
        return words
    }

    private static let longestWords = 500

    /// Errors that have no code of their own.
    private var adviceOnUnspecified: String? {
        if self.isMissingRightInScript { return Self.adviceOnRights }
        if self.isUnknownCommand { return "the server has no such command: is it renamed, or too old?" }
        if self.message.contains("max number of clients") {
            return "raise maxclients, or look who holds the connections"
        }
        if self.message.contains("DB index is out of range") {
            return "the URL names a database that the server does not have"
        }
        if self.message.contains("invalid bulk length") {
            return "the result is longer than the server's proto-max-bulk-len"
        }
        return nil
    }

    private static let adviceOnRights = "give the user the rights that `singleflight doctor` finds missing"

    /// The server does not let this client do it.
    var isRefusal: Bool {
        ["NOPERM", "NOAUTH", "WRONGPASS", "DENIED"].contains(self.code) || self.isMissingRightInScript
            || self.isUnknownCommand
    }

    /// Servers have no code of their own for what a script may not do: Redis 7.0 says the first, later ones and Valkey
    /// the second, and servers before 7.0 put where in the script it was in front of the first.
    var isMissingRightInScript: Bool {
        ["ERR The user executing the script can't", "ERR ACL failure in script"].contains { self.message.hasPrefix($0) }
            || self.message.hasPrefix("ERR Error running script")
                && self.message.contains(": The user executing the script can't")
    }

    /// The server has no such command: it is too old, or only compatible, or somebody has renamed the command away.
    var isUnknownCommand: Bool {
        // Before 7.0 with a capital letter for a subcommand.
        ["ERR unknown command", "ERR unknown subcommand", "ERR Unknown subcommand"].contains {
            self.message.hasPrefix($0)
        }
    }
}
