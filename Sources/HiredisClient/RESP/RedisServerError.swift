/// An error reply: the server received the command and refused or failed it.
package struct RedisServerError: Error, Hashable, Sendable {
    /// The whole line the server sent, without the leading `-`.
    package let message: String

    package init(message: String) {
        self.message = message
    }

    /// The first word of the message, which is the error's code: `ERR`, `NOSCRIPT`, `READONLY`…
    ///
    /// Servers before 7.0 wrap what a command in a script was answered: `ERR Error running script (call to f_…):
    /// @user_script:3: @user_script: 3: -OOM command not allowed…`. Then it is the code of that.
    package var code: Substring {
        let first = message.prefix { $0 != " " }
        guard first == "ERR", message.hasPrefix("ERR Error running script"), let dash = message.firstRange(of: ": -")
        else { return first }
        let inner = message[dash.upperBound...].prefix { $0 != " " }
        return inner.allSatisfy(\.isUppercase) && !inner.isEmpty ? inner : first
    }

    /// The same error without the arguments of the command, which some errors quote.
    var withoutArguments: RedisServerError {
        guard let quote = message.firstRange(of: ", with args beginning with") else { return self }
        return RedisServerError(message: String(message[..<quote.lowerBound]))
    }

    /// The same command may well succeed later, on this server or on the one that replaces it.
    package var isTransient: Bool {
        switch code {
        case "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN":
            true
        default:
            false
        }
    }

    /// Why the connection that it came on is of no use any more, or `nil` if it is as good as before.
    ///
    /// A server that turned from a primary into a replica keeps its connections, and would refuse all writes on them
    /// for ever: as read-only, as without its primary, or while it loads that one's data. A new connection finds
    /// out where the primary is now. All other errors are about the command, or about a state that this same server
    /// will leave.
    package var endOfConnection: RedisClientError? {
        switch code {
        case "READONLY": RedisClientError(.replica, "the server became read-only", underlying: self)
        case "MASTERDOWN": RedisClientError(.replica, "the server is a replica without its primary", underlying: self)
        case "LOADING": RedisClientError(.connectionFailed, "the server loads its data", underlying: self)
        case "NOAUTH": RedisClientError(.connectionFailed, "the connection is not logged in any more", underlying: self)
        default: nil
        }
    }

    /// The server has no script of this hash; only the source helps.
    package var isUnknownScript: Bool {
        code == "NOSCRIPT"
    }

    /// The server does not let this client in, or does not let it do what it must do to be of use.
    var isAuthentication: Bool {
        switch code {
        case "NOAUTH", "NOPERM", "WRONGPASS": true
        default: false
        }
    }

    /// The server refuses commands with this code before they have any effect.
    ///
    /// That is so of scripts, too: with a `#!lua` line they do not even start, and without one they fail at their first
    /// write, which a script must then not have behind it.
    var isRefusedBeforeExecution: Bool {
        switch code {
        case "ASK", "BUSY", "CLUSTERDOWN", "CROSSSLOT", "DENIED", "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOAUTH",
            "NOPERM", "NOREPLICAS", "NOSCRIPT", "OOM", "READONLY", "TRYAGAIN", "WRONGPASS":
            true
        default:
            false
        }
    }

    /// The server could not even compile a script because it does not know the `#!lua` line, which came with 7.0.
    ///
    /// Older servers complain about a syntax error at `#`; others may know shebangs, but not this engine or flag.
    /// Dragonfly says `Invalid flag: allow-oom`, kvrocks `allow-oom is not supported yet`, or that it is unknown.
    var rejectsShebang: Bool {
        guard code == "ERR" else { return false }
        let text = message.lowercased()
        return RedisServerError.wordsOnShebang.contains { text.contains($0) }
    }

    private static let wordsOnShebang = [
        "near '#'", "shebang", "script engine", "scripting engine", "invalid flag", "unknown flag", "allow-oom is not",
    ]
}

extension RedisServerError: CustomStringConvertible {
    package var description: String { message }
}
