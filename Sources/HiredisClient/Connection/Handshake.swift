import NIOCore

/// The commands that make a fresh connection usable, as data. They are sent at once and answered in order.
struct Handshake: Sendable, Hashable {
    enum Step: Sendable, Hashable {
        case authenticate(user: String?, password: RedisURL.Secret)
        /// A server that is no node of a cluster answers with an error. Before the database is selected: a node of a
        /// cluster has but one.
        case findCluster(database: Int)
        case selectDatabase(Int)
        case setName(String)
        case role
        /// What tells the role where the user may not ask for it, or the server knows no ROLE.
        case replication
        /// Before anything is sent that is to be carried out: a script that the server did not know would have to be
        /// sent again, behind what was sent after it. A user without the right to load scripts has that happen.
        case loadScript(RedisScript.Body)
        /// A server that still loads its data, or has lost its primary, says so here.
        case ping
        /// A script that does nothing. A server that holds writes back (CLIENT PAUSE) answers all of the above, and
        /// scripts not before it goes on.
        case evaluateNothing
        case subscribe(channel: String)
    }

    var steps: [Step] = []
    /// A connection to a server that is, or becomes, a replica is of no use.
    let requiresPrimary: Bool

    /// - Parameters:
    ///   - login: as whom; `nil` for whom the server takes anybody for.
    ///   - database: the number of the database.
    ///   - knowsRole: whether the server is asked for its role by the command for that.
    ///   - afterSilence: whether a command was not answered on the connection before, though the server may answer
    ///     others.
    init(
        _ configuration: RedisClientConfiguration,
        login: RedisCredentials.Login? = nil,
        database: Int = 0,
        channel: String? = nil,
        knowsRole: Bool = true,
        afterSilence: Bool = false
    ) {
        requiresPrimary = configuration.requiresPrimary
        if let login {
            // A user without a password is one that needs none; AUTH wants some password all the same.
            steps.append(.authenticate(user: login.user, password: login.secret ?? RedisURL.Secret("")))
        }
        if configuration.findsClusters, channel == nil {
            steps.append(.findCluster(database: database))
        }
        if database != 0 {
            steps.append(.selectDatabase(database))
        }
        if let name = configuration.clientName {
            steps.append(.setName(name))
        }
        // A client that accepts a replica accepts any server, and finds out later what the server is like.
        if configuration.requiresPrimary {
            steps.append(knowsRole ? .role : .replication)
        }
        if channel == nil {
            steps += configuration.scripts.map { script in
                .loadScript(configuration.usesLegacyScripts ? script.legacyBody ?? script.body : script.body)
            }
        }
        if configuration.requiresPrimary {
            steps.append(.ping)
            // A script that is held back would be answered by nobody on this connection either.
            if afterSilence, channel == nil { steps.append(.evaluateNothing) }
        }
        if let channel {
            steps.append(.subscribe(channel: channel))
        }
        // Without an answer a connection is never taken for ready.
        if steps.isEmpty { steps.append(.ping) }
    }

    func encode(into buffer: inout ByteBuffer) {
        for step in steps {
            step.command.encode(into: &buffer)
        }
    }
}

extension Handshake.Step {
    var command: RedisCommand {
        switch self {
        case .authenticate(nil, let password): RedisCommand("AUTH", .string(password.value))
        case .authenticate(let user?, let password): RedisCommand("AUTH", .string(user), .string(password.value))
        case .findCluster: RedisCommand("CLUSTER", "SLOTS")
        case .selectDatabase(let index): RedisCommand("SELECT", .integer(Int64(index)))
        case .setName(let name): RedisCommand("CLIENT", "SETNAME", .string(name))
        case .role: RedisCommand("ROLE")
        case .replication: RedisCommand("INFO", "replication")
        case .loadScript(let script): RedisCommand("SCRIPT", "LOAD", .string(script.source))
        case .ping: RedisCommand("PING")
        case .evaluateNothing: RedisCommand("EVAL", "return 1", "0")
        case .subscribe(let channel): RedisCommand("SUBSCRIBE", .string(channel))
        }
    }

    /// Why the connection is of no use after this answer, or `nil` to go on.
    func verdict(on reply: RESPValue) -> RedisClientError? {
        if case .error(let error) = reply {
            // A server that knows no AUTH quotes what it was sent: the password.
            if case .authenticate = self { return verdict(onError: error.withoutArguments) }
            return verdict(onError: error)
        }
        switch self {
        case .authenticate, .selectDatabase, .setName, .loadScript, .ping, .evaluateNothing:
            return nil
        case .findCluster(let database):
            let nowhere = NodeAddress(host: "", port: 0)
            guard ClusterTopology(slots: reply, from: nowhere) != nil else { return nil }
            guard database == 0 else { return .database(database) }
            return RedisClientError(.cluster, "the server is a node of a cluster")
        case .role:
            guard let role = reply.array?.first?.string else {
                return RedisClientError(.protocolViolation, "the answer to ROLE is malformed")
            }
            return Self.verdict(onRole: role, reply.array ?? [])
        case .replication:
            let lines = reply.string?.split(whereSeparator: \.isNewline) ?? []
            guard let line = lines.first(where: { $0.hasPrefix("role:") }) else {
                return RedisClientError(.protocolViolation, "the answer to INFO replication tells no role")
            }
            return Self.verdict(onRole: line.dropFirst("role:".count))
        case .subscribe(let channel):
            guard SubscriptionPush(reply) == .subscribed(channel: channel) else {
                return RedisClientError(.protocolViolation, "the answer to SUBSCRIBE is malformed")
            }
            return nil
        }
    }

    /// - Parameter details: the answer to ROLE: of a replica, the second and third are its primary's host and port.
    private static func verdict(onRole role: some StringProtocol, _ details: [RESPValue] = []) -> RedisClientError? {
        switch role {
        case "master":
            return nil
        case "sentinel":
            let advice = "ask it by redis-sentinel://host:port/primary-name"
            return RedisClientError(.misconfigured, "the server is a sentinel, which keeps no leases: \(advice)")
        default:
            var of = ""
            if details.count > 2, let host = details[1].string, let port = details[2].integer {
                of = " (of \(RedisAddress.tcp(host: host, port: Int(clamping: port))))"
            }
            return RedisClientError(.replica, "the server is no primary, its role is \(role)\(of)")
        }
    }

    private func verdict(onError error: RedisServerError) -> RedisClientError? {
        switch self {
        // The name is a convenience; a server that does not do it is good enough. So is one that reads scripts in their
        // older form only, which it is sent with the first evaluation; and whatever it says of a script, it answers.
        case .findCluster, .setName, .loadScript, .evaluateNothing:
            if !isFatal(error) { return nil }
        case .role where ["NOPERM", "ERR"].contains(error.code) && !isFatal(error):
            var refusal = RedisClientError(.connectionFailed, "ROLE was refused", underlying: error)
            refusal.refusesRole = true
            return refusal
        // It does not know the command, has fewer databases, or only one. Time heals none of that.
        case .selectDatabase(let number) where error.code == "ERR" && !isFatal(error):
            return .noDatabase(number, error)
        case .authenticate, .selectDatabase, .role, .replication, .ping, .subscribe:
            break
        }
        if error.isAuthentication || isRefusedLogin(error) {
            return RedisClientError(.authenticationFailed, "\(subject) was refused", underlying: error)
        }
        return RedisClientError(.connectionFailed, "\(subject) failed", underlying: error)
    }

    /// Errors that come instead of any answer, whatever was asked.
    private func isFatal(_ error: RedisServerError) -> Bool {
        error.code == "NOAUTH" || error.code == "DENIED" || error.message.contains("max number of clients")
    }

    /// Servers before 6.0, and those without a password, answer AUTH with a plain `ERR`.
    private func isRefusedLogin(_ error: RedisServerError) -> Bool {
        guard case .authenticate = self, error.code == "ERR" else { return false }
        return error.message.contains("AUTH") || error.message.contains("password")
    }

    private var subject: String {
        switch self {
        case .authenticate: "AUTH"
        case .findCluster: "CLUSTER SLOTS"
        case .selectDatabase: "SELECT"
        case .setName: "CLIENT SETNAME"
        case .role: "ROLE"
        case .replication: "ROLE, and INFO replication in its place,"
        case .loadScript: "SCRIPT LOAD"
        case .ping: "PING"
        case .evaluateNothing: "EVAL"
        case .subscribe: "SUBSCRIBE"
        }
    }
}

extension RedisClientError {
    /// A cluster was asked for one of its databases.
    fileprivate static func database(_ number: Int) -> RedisClientError {
        let message = "the server is a node of a cluster, which has database 0 only: leave /\(number) out of the URL"
        return RedisClientError(.misconfigured, message)
    }

    /// A server was asked for a database that it does not have, or does not let anybody choose.
    fileprivate static func noDatabase(_ number: Int, _ error: RedisServerError) -> RedisClientError {
        let message = "database \(number) cannot be selected: leave its number out of the URL for database 0"
        return RedisClientError(.misconfigured, message, underlying: error)
    }
}
