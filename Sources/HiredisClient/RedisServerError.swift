/// An error reply: the server received the command and refused or failed it.
package struct RedisServerError: Error, Hashable, Sendable {
    /// The whole line the server sent, without the leading `-`.
    package let message: String

    package init(message: String) {
        self.message = message
    }

    /// The first word of the message, which is the error's code: `ERR`, `NOSCRIPT`, `READONLY`…
    package var code: Substring {
        message.prefix { $0 != " " }
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

    /// This server cannot serve writes at present, whatever is asked of it.
    package var meansServerCannotServeWrites: Bool {
        switch code {
        case "LOADING", "MASTERDOWN", "READONLY": true
        default: false
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
    var isRefusedBeforeExecution: Bool {
        switch code {
        case "ASK", "BUSY", "LOADING", "MASTERDOWN", "MOVED", "NOAUTH", "NOSCRIPT": true
        default: false
        }
    }

    /// The server could not even compile a script because it does not know the `#!lua` line, which came with 7.0.
    ///
    /// Older servers complain about a syntax error at `#`; others may know shebangs, but not this engine or flag.
    var rejectsShebang: Bool {
        guard code == "ERR" else { return false }
        let text = message.lowercased()
        return ["near '#'", "shebang", "script engine", "scripting engine"].contains { text.contains($0) }
    }
}

extension RedisServerError: CustomStringConvertible {
    package var description: String { message }
}
