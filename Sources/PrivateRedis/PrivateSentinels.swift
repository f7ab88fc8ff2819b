/// A primary with replicas, and sentinels that watch it, all of them of one's own: see ``PrivateRedis``.
///
/// Safe from any thread.
package final class PrivateSentinels: Sendable {
    /// What to start.
    package struct Configuration: Sendable {
        package var replicas = 2
        package var sentinels = 3
        /// The default user's password on the servers; nil asks for none.
        package var password: String?
        /// The default user's password on the sentinels; nil asks for none.
        package var sentinelPassword: String?
        /// How long the primary may be silent before a sentinel holds it for down, in milliseconds.
        package var downAfter = 1_000
        /// Further lines of the servers' configuration files.
        package var extraLines: [String] = []

        package init() {}
    }

    /// The name under which the sentinels know the primary.
    package static let primary = "main"

    private let configuration: Configuration
    /// The first one was the primary in the beginning.
    package let servers: [PrivateRedis]
    package let sentinels: [PrivateRedis]

    private init(_ configuration: Configuration, servers: [PrivateRedis], sentinels: [PrivateRedis]) {
        self.configuration = configuration
        self.servers = servers
        self.sentinels = sentinels
    }

    /// Starts all of them, calls `body` once every sentinel knows all replicas and all other sentinels, and stops them.
    package static func with<Result>(
        _ configuration: Configuration = Configuration(),
        _ body: (PrivateSentinels) async throws -> Result
    ) async throws -> Result {
        var started: [PrivateRedis] = []
        do {
            let primary = try await PrivateRedis.start(configuration.server(replicaOf: nil))
            started.append(primary)
            for _ in 0..<configuration.replicas {
                started.append(try await .start(configuration.server(replicaOf: primary.port)))
            }
            let servers = started
            try await waiting(for: "the replicas") {
                try await primary.command("INFO", "replication").components(inLines: "state=online")
                    == configuration.replicas
            }
            var sentinels: [PrivateRedis] = []
            for _ in 0..<configuration.sentinels {
                let sentinel = try await PrivateRedis.start(configuration.sentinel(watching: primary.port ?? 0))
                started.append(sentinel)
                sentinels.append(sentinel)
            }
            let deployment = PrivateSentinels(configuration, servers: servers, sentinels: sentinels)
            try await waiting(for: "the sentinels to know one another") { try await deployment.isComplete() }
            let result = try await body(deployment)
            await stop(started)
            return result
        } catch {
            await stop(started)
            throw error
        }
    }

    private static func stop(_ servers: [PrivateRedis]) async {
        // A server that is paused does not end by itself.
        await withTaskGroup(of: Void.self) { group in
            for server in servers.reversed() { group.addTask { await server.kill() } }
        }
    }

    // MARK: Addresses

    /// The URL that names all sentinels, with the passwords.
    package var url: String { url(of: sentinels) }

    /// The URL that names these sentinels, with the passwords, and the name under which they know the primary.
    package func url(of sentinels: [PrivateRedis], name: String = primary, sentinelPassword: String? = nil) -> String {
        let addresses = sentinels.map { "127.0.0.1:\($0.port ?? 0)" }.joined(separator: ",")
        let login = configuration.password.map { ":\($0)@" } ?? ""
        let own = (sentinelPassword ?? configuration.sentinelPassword).map { "?sentinel-password=\($0)" } ?? ""
        return "redis-sentinel://\(login)\(addresses)/\(name)\(own)"
    }

    // MARK: The primary

    /// The server that the first sentinel that answers holds for the primary; nil while none does.
    package func current() async -> PrivateRedis? {
        for sentinel in sentinels {
            guard let answer = try? await sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self.primary) else {
                continue
            }
            if let server = servers.first(where: { answer.contains("\r\n\($0.port ?? 0)\r\n") }) { return server }
        }
        return nil
    }

    /// Has the sentinels make another server the primary, and returns when all that answer say so, and the old one, if
    /// it still runs, is a replica of the new one.
    ///
    /// - Returns: the old primary and the new one.
    @discardableResult
    package func failOver() async throws -> (old: PrivateRedis, new: PrivateRedis) {
        guard let old = await current() else { throw PrivateRedisError.connectionClosed }
        try await Self.waiting(for: "a failover to begin") {
            // Not while another one is going on, nor before there is a replica to choose.
            try await self.sentinels[0].command("SENTINEL", "FAILOVER", Self.primary).hasPrefix("+OK")
        }
        return (old, try await untilMoved(from: old))
    }

    /// Returns the new primary when every sentinel that answers takes another server than `old` for it.
    @discardableResult
    package func untilMoved(from old: PrivateRedis) async throws -> PrivateRedis {
        try await Self.waiting(for: "another primary") {
            var answers = 0
            for sentinel in self.sentinels {
                let command = try? await sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self.primary)
                guard let command else { continue }
                answers += 1
                if command.contains("\r\n\(old.port ?? 0)\r\n") { return false }
            }
            return answers > 0
        }
        guard let new = await current() else { throw PrivateRedisError.connectionClosed }
        return new
    }

    /// Returns when every sentinel knows all others and all replicas, and holds all replicas for reachable and in step.
    package func untilComplete() async throws {
        try await Self.waiting(for: "all replicas to follow") { try await self.isComplete() }
    }

    private func isComplete() async throws -> Bool {
        guard let primary = await current() else { return false }
        let online = try await primary.command("INFO", "replication").components(inLines: "state=online")
        guard online == configuration.replicas else { return false }
        for sentinel in sentinels {
            let replicas = try await sentinel.command("SENTINEL", "REPLICAS", Self.primary)
            guard replicas.components(inLines: "master-link-status") == configuration.replicas,
                replicas.components(inLines: "ok") >= configuration.replicas,
                ["s_down", "o_down", "disconnected"].allSatisfy({ replicas.components(inLines: $0) == 0 })
            else { return false }
            let others = try await sentinel.command("SENTINEL", "SENTINELS", Self.primary)
            guard others.components(inLines: "runid") == sentinels.count - 1 else { return false }
        }
        return true
    }

    /// Asks every 50 milliseconds, for a minute at most.
    private static func waiting(for what: String, _ condition: () async throws -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(60)
        while !((try? await condition()) ?? false) {
            guard ContinuousClock.now < end else { throw NeverCame(what: what) }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// What must come has not come.
    package struct NeverCame: Error, CustomStringConvertible {
        let what: String

        package var description: String { "waited a minute for \(what)" }
    }
}

extension PrivateSentinels.Configuration {
    fileprivate func server(replicaOf primary: UInt16?) -> PrivateRedis.Configuration {
        var lines = ["repl-diskless-sync yes", "repl-diskless-sync-delay 0", "repl-ping-replica-period 1"]
        if let password { lines.append("masterauth \(password)") }
        if let primary { lines.append("replicaof 127.0.0.1 \(primary)") }
        return PrivateRedis.Configuration(listening: .tcp(.free), password: password, extraLines: lines + extraLines)
    }

    fileprivate func sentinel(watching primary: UInt16) -> PrivateRedis.Configuration {
        let name = PrivateSentinels.primary
        var lines = [
            "sentinel monitor \(name) 127.0.0.1 \(primary) \(sentinels / 2 + 1)",
            "sentinel down-after-milliseconds \(name) \(downAfter)", "sentinel failover-timeout \(name) 5000",
            "sentinel parallel-syncs \(name) \(max(replicas, 1))",
        ]
        if let password { lines.append("sentinel auth-pass \(name) \(password)") }
        if let sentinelPassword { lines.append("sentinel sentinel-pass \(sentinelPassword)") }
        return PrivateRedis.Configuration(
            listening: .tcp(.free),
            password: sentinelPassword,
            extraLines: lines,
            isSentinel: true
        )
    }
}

extension String {
    /// How many lines, or parts of lines between commas, are or hold `text`.
    fileprivate func components(inLines text: String) -> Int {
        split(whereSeparator: { $0.isNewline || $0 == "," }).count { $0 == text }
    }
}
