import HiredisClient
import Logging
import NIOCore
import NIOPosix
package import SingleflightLease

/// Finds out what a Redis is like for a process that wants to keep leases in it.
///
/// Everything is tried rather than looked up in the access rules, so that it works for the least privileged user and on
/// every version. What it writes is one key of its own in the namespace, which lives five seconds at most.
package struct RedisProbe: Sendable {
    /// The parameters that have a say in how leases fare.
    private static let parameters = [
        "appendonly", "client-output-buffer-limit", "maxmemory-policy", "min-replicas-max-lag",
        "min-replicas-to-write", "save", "tcp-keepalive", "timeout",
    ]
    /// Of a script that nobody has: a user with the right to EVALSHA is told just that.
    private static let unknownHash = String(repeating: "0", count: 40)
    private static let pings = 100
    /// After this time no more PINGs are sent, on a slow link.
    private static let pingLimit = Duration.seconds(2)

    var client: RedisClient
    /// The cluster that the server may be a node of.
    let cluster: RedisClusterClient?
    private let channel: String
    /// The inbox on a cluster.
    let shardChannel: String
    /// Where the key and that channel are there.
    let place: RedisOrder
    private let key: RedisArgument
    let timeout: Duration
    private let wallClock: @Sendable () -> Duration
    private let prefix: String
    private let database: Int

    /// Connects to the server at `url`, which may be a replica, asks it everything, and disconnects.
    ///
    /// - Parameter wallClock: the time since 1970 by this machine's clock.
    /// A server that cannot be reached, does not let us in, or stops to answer, is a fact as well:
    /// ``RedisFacts/failure``.
    ///
    /// - Throws: `LeaseStoreError` if the configuration or the URL makes no sense.
    package static func facts(
        url: String,
        configuration: RedisLeaseStoreConfiguration,
        wallClock: @escaping @Sendable () -> Duration
    ) async throws(LeaseStoreError) -> RedisFacts {
        try configuration.check()
        var generator = SystemRandomNumberGenerator()
        let inbox = InboxID(using: &generator)
        let target = try RedisLeaseStoreConfiguration.target(url: url)
        var clientConfiguration = try configuration.client(target, inbox: inbox)
        clientConfiguration.requiresPrimary = false
        clientConfiguration.findsClusters = false
        let logger = Logger(label: "singleflight.redis", factory: { _ in SwiftLogNoOpLogHandler() })
        let client = RedisClient(configuration: clientConfiguration, logger: logger)
        let cluster = RedisClusterClient(ifNodeOf: target, clientConfiguration, on: client.eventLoop, logger: logger)
        let keyspace = Keyspace(namespace: configuration.namespace, database: target.database)
        let inboxPrefix = keyspace.inboxPrefix
        let prefix = String(inboxPrefix.prefix { $0 != ":" })
        let key = "\(prefix):{\(configuration.namespace):doctor}:probe:\(inbox)"
        let probe = RedisProbe(
            client: client,
            cluster: cluster,
            channel: inboxPrefix + inbox.description,
            shardChannel: "\(prefix):{\(configuration.namespace):doctor}:in:\(inbox)",
            place: .none(in: HashSlot(of: key)),
            key: .string(key),
            timeout: configuration.commandTimeout,
            wallClock: wallClock,
            prefix: prefix,
            database: target.database
        )
        client.start()
        var facts = RedisFacts()
        facts.prefix = prefix
        facts.user = target.credentials?.user
        facts.sentinels = await client.surveySentinels()
        do {
            try await probe.find(&facts)
        } catch let error as LeaseStoreError {
            facts.failure = error
        } catch let error as RedisClientError {
            facts.failure = LeaseStoreError(error)
        } catch {
            facts.failure = LeaseStoreError(.unavailable, "\(error)", underlying: error)
        }
        facts.certificateEnd = await client.configuration.certificateEnd()
        await cluster?.shutdown()
        await client.shutdown()
        return facts
    }

    private func find(_ facts: inout RedisFacts) async throws {
        try await client.connected(within: timeout)
        facts.cluster = try await clusterFacts()
        if facts.cluster != nil {
            try await atOwner().findRest(&facts)
        } else {
            try await findRest(&facts)
        }
    }

    private func findRest(_ facts: inout RedisFacts) async throws {
        facts.user = try await ask("ACL", "WHOAMI").value?.string ?? facts.user
        facts.info = Self.fields(try await ask("INFO").value?.string ?? "")
        let roleRefusal = try await findRole(&facts)
        for parameter in Self.parameters {
            // One at a time: several in one command came with 7.0.
            let answer = try await ask("CONFIG", "GET", .string(parameter))
            if let pair = answer.value?.array, pair.count == 2, let value = pair[1].string {
                facts.settings[parameter] = value
            }
            // A worker's user need not have the right.
            if let refusal = answer.refusal, refusal.reason == .unknown {
                facts.dispensableCommands["CONFIG"] = refusal
            }
        }
        try await tryCommands(&facts)
        if facts.role == nil { facts.refusedCommands?["ROLE"] = roleRefusal }
        try await tryDispensableCommands(&facts)
        facts.scripts = try await scripts()
        facts.inbox = try await inbox(facts)
        facts.clockOffset = try await clockOffset()
        facts.roundTrips = try await roundTrips()
    }

    /// As a process does: by INFO where ROLE is refused.
    ///
    /// - Returns: the refusal.
    private func findRole(_ facts: inout RedisFacts) async throws -> RedisFacts.Refusal? {
        let answer = try await ask("ROLE")
        let role = answer.value?.array ?? []
        facts.role = role.first?.string ?? facts.info["role"]
        if facts.role == "slave", role.count > 2, let host = role[1].string, let port = role[2].integer {
            facts.primary = (host, Int(port))
        } else if facts.role == "slave", let host = facts.info["master_host"],
            let port = facts.info["master_port"].flatMap({ Int($0) })
        {
            facts.primary = (host, port)
        }
        if facts.role != nil { facts.dispensableCommands["ROLE"] = answer.refusal }
        return answer.refusal
    }

    // MARK: - Rights

    /// Sends every command that a worker sends, on a key of our own. Commands for hashes and lists meet a string there,
    /// so that they change nothing: the server checks rights before types.
    private func tryCommands(_ facts: inout RedisFacts) async throws {
        facts.refusedCommands = [:]
        let write = try await ask("SET", key, "1", "NX", "PX", "5000")
        note(write, "SET", &facts)
        if write.refusal == nil, let error = write.error { facts.writeError = error.message }
        var commands: [(name: String, arguments: [RedisArgument])] = [
            ("GET", [key]), ("HGET", [key, "1"]), ("HDEL", [key, "1"]), ("HLEN", [key]), ("HKEYS", [key]),
            ("HRANDFIELD", [key, "1"]), ("PEXPIRE", [key, "5000"]), ("PTTL", [key]), ("STRLEN", [key]), ("TIME", []),
            ("LLEN", [key]), ("LRANGE", [key, "0", "0"]),
            ("EVALSHA", [.string(Self.unknownHash), "0"]), ("EVAL", ["return 1", "0"]), ("PING", []), ("DEL", [key]),
        ]
        // Where no string could be written, these would make a value without a time to live.
        if write.error == nil {
            commands.insert(contentsOf: [("HSET", [key, "1", "1"]), ("RPUSH", [key, "1"])], at: 0)
        }
        for (name, arguments) in commands {
            note(try await ask(RedisCommand(name, arguments: arguments)), name, &facts)
        }
        facts.mayScan = try await ask("SCAN", "0", "MATCH", key, "COUNT", "1").refusal == nil
    }

    private func tryDispensableCommands(_ facts: inout RedisFacts) async throws {
        facts.dispensableCommands["CLIENT SETNAME"] = try await ask("CLIENT", "SETNAME", "sf:doctor").refusal
        // Where the URL names another database, there would be no connection without it.
        if database == 0 {
            facts.dispensableCommands["SELECT"] = try await ask("SELECT", "0").refusal
        }
    }

    private func note(_ answer: Answer, _ command: String, _ facts: inout RedisFacts) {
        if let refusal = answer.refusal {
            facts.refusedCommands?[command] = refusal
        } else if facts.writeError == nil, let error = answer.error, error.isStateOfServer {
            facts.writeError = error.message
        }
    }

    private func scripts() async throws -> RedisFacts.Scripts? {
        let modern = try await ask("EVAL", "#!lua flags=allow-oom\nreturn redis.call('PTTL', KEYS[1])", "1", key)
        guard let refusal = modern.error else { return .withShebang }
        // A server that refuses a script for the state it is in, as a replica does, has understood its first line; but
        // whether it would run is not known.
        guard !refusal.isTransient else { return nil }
        let legacy = try await ask("EVAL", "return redis.call('PTTL', KEYS[1])", "1", key)
        guard let error = legacy.error else { return .withoutShebang(refusal.message) }
        return .refused(error.message)
    }

    // MARK: - Inbox

    private func inbox(_ facts: RedisFacts) async throws -> RedisFacts.Inbox {
        if facts.cluster != nil, let cluster, let slot = place.slot {
            return try await shardInbox(cluster, slot: slot)
        }
        let (messages, continuation) = AsyncStream.makeStream(of: RedisFacts.Inbox?.self)
        let subscription = client.makeSubscription(to: channel) { event in
            if case .message = event { continuation.yield(nil) }
        }
        subscription.start()
        let result: RedisFacts.Inbox
        do {
            try await subscription.subscribed(within: timeout)
            result = try await publish("PUBLISH", channel, messages, continuation)
        } catch let error as RedisClientError {
            let reason = error.serverError?.message ?? error.description
            result = error.code == .authenticationFailed ? .refused(reason) : .failed(reason)
        } catch {
            await subscription.shutdown()
            throw error
        }
        await subscription.shutdown()
        return result
    }

    /// - Parameter messages: `nil` for each that came, and what else becomes of the inbox.
    func publish(
        _ command: String,
        _ channel: String,
        _ messages: AsyncStream<RedisFacts.Inbox?>,
        _ continuation: AsyncStream<RedisFacts.Inbox?>.Continuation
    ) async throws -> RedisFacts.Inbox {
        let clock = ContinuousClock()
        let start = clock.now
        let answer = try await ask(command, .string(channel), "1")
        if let error = answer.error { return error.code == "NOPERM" ? .refused(error.message) : .failed(error.message) }
        let timer = client.eventLoop.scheduleTask(in: TimeAmount(timeout)) { continuation.finish() }
        defer { timer.cancel() }
        for await message in messages { return message ?? .delivered(after: start.duration(to: clock.now)) }
        return .silent
    }

    // MARK: - Time

    /// The server read its clock between our sending and our receiving, which bounds the offset from both sides. Of
    /// some attempts the quickest tells most.
    private func clockOffset() async throws -> RedisFacts.ClockOffset? {
        var best: RedisFacts.ClockOffset?
        for _ in 0..<5 {
            let sent = wallClock()
            let answered = try await ask("TIME").value?.serverTime
            let received = wallClock()
            guard let time = answered else { return nil }
            let offset = RedisFacts.ClockOffset(lower: time - received, upper: time - sent)
            if let known = best, known.upper - known.lower <= offset.upper - offset.lower { continue }
            best = offset
        }
        return best
    }

    private func roundTrips() async throws -> [Duration] {
        let clock = ContinuousClock()
        let start = clock.now
        var roundTrips: [Duration] = []
        while roundTrips.count < Self.pings, start.duration(to: clock.now) < Self.pingLimit {
            let sent = clock.now
            // Without the right to PING, or with a disk that it cannot write to, the server tells just that.
            if try await ask("PING").error != nil, roundTrips.isEmpty { break }
            roundTrips.append(sent.duration(to: clock.now))
        }
        return roundTrips.sorted()
    }

    // MARK: - Asking

    enum Answer {
        case value(RESPValue)
        case error(RedisServerError)

        var value: RESPValue? {
            if case .value(let value) = self { value } else { nil }
        }

        var error: RedisServerError? {
            if case .error(let error) = self { error } else { nil }
        }

        var refusal: RedisFacts.Refusal? {
            guard let error else { return nil }
            if error.isUnknownCommand { return .init(.unknown, error.message) }
            guard error.code == "NOPERM" else { return nil }
            // "… no permissions to access a key", "… to access one of the keys used as arguments".
            return .init(error.message.contains(" key") ? .keys : .command, error.message)
        }
    }

    func ask(_ name: String, _ arguments: RedisArgument...) async throws(LeaseStoreError) -> Answer {
        try await ask(RedisCommand(name, arguments: arguments))
    }

    private func ask(_ command: RedisCommand) async throws(LeaseStoreError) -> Answer {
        do {
            return .value(try await client.send(command))
        } catch {
            if error.code == .server, let answer = error.serverError { return .error(answer) }
            throw LeaseStoreError(error)
        }
    }

    static func fields(_ info: String) -> [String: String] {
        let pairs = info.split(whereSeparator: \.isNewline).compactMap { line -> (String, String)? in
            guard !line.hasPrefix("#"), let colon = line.firstIndex(of: ":") else { return nil }
            return (String(line[..<colon]), String(line[line.index(after: colon)...]))
        }
        return Dictionary(pairs) { $1 }
    }
}

extension RedisServerError {
    /// The server refuses for the state that it, or its cluster, is in, whatever was asked.
    fileprivate var isStateOfServer: Bool { isTransient || code == "MOVED" || code == "NOAUTH" }
}
