package import SingleflightRedis

/// From facts about a server to what to think of them. No I/O.
package enum DoctorRules {
    /// Every check, in the order in which they are shown.
    ///
    /// - Parameter now: the time since 1970 by this machine's clock.
    package static func findings(of facts: RedisFacts, at now: Duration) -> [Finding] {
        let connection = connection(facts, at: now)
        // Nobody was let in: what else there is to say of the server is not known, and takes no list of skipped checks.
        if facts.failure != nil, facts.info.isEmpty, facts.refusedCommands == nil {
            return [connection] + sentinels(facts)
        }
        return [connection] + sentinels(facts) + [version(facts), role(facts)] + cluster(facts) + [
            commands(facts), rights(facts), listing(facts),
            writes(facts), scripts(facts), inbox(facts), latency(facts), clock(facts), eviction(facts), memory(facts),
            persistence(facts), inboxBuffer(facts), replicas(facts), clients(facts), idleTimeout(facts),
            keepalive(facts),
        ]
    }

    // MARK: - The server and what it is

    private static func version(_ facts: RedisFacts) -> Finding {
        if let (name, version) = compatible(facts) {
            return .warn(
                "version",
                "\(name) \(version)",
                "It is no Redis: the lines below say how far it is alike, and nobody has tried what it does in trouble.",
                do: "Restart it and cut it off under load before leases depend on it (docs/deploy.md)."
            )
        }
        let name = facts.info["valkey_version"] == nil ? "Redis" : "Valkey"
        guard let text = facts.info["valkey_version"] ?? facts.info["redis_version"] else {
            return .skipped("version", needs: "INFO")
        }
        // Valkey tells in `redis_version` which Redis it is compatible with.
        let numbers = (facts.info["redis_version"] ?? text).split(separator: ".").compactMap { Int($0) }
        let (major, minor) = (numbers.first ?? 0, numbers.dropFirst().first ?? 0)
        let found = "\(name) \(text)"
        if (major, minor) < (6, 2) {
            return .fail("version", found, "Leases need 6.2 or later.", do: "Upgrade the server; 7.0 or later is best.")
        }
        if major < 7 {
            return .warn(
                "version",
                found,
                "Scripts cannot say that they may run while memory is full: leases are lost then, not only refused.",
                do: "Upgrade the server to 7.0 or later."
            )
        }
        return .ok("version", found, "It has all that leases need.")
    }

    /// A server that is no Redis. What it tells as Redis' version is a matter of taste: kvrocks says 4.0.0.
    private static func compatible(_ facts: RedisFacts) -> (name: String, version: String)? {
        if let version = facts.info["dragonfly_version"] { return ("Dragonfly", version) }
        if let version = facts.info["kvrocks_version"] { return ("kvrocks", version) }
        return nil
    }

    private static func role(_ facts: RedisFacts) -> Finding {
        switch facts.role {
        case nil: .skipped("role", needs: "ROLE or INFO")
        case "master": .ok("role", "primary", "Leases are granted by the primary.")
        case "slave":
            .fail(
                "role",
                "replica" + (facts.primary.map { " of \(address($0))" } ?? ""),
                "Only a primary can grant leases.",
                do: "Use the URL of its primary" + (facts.primary.map { ": redis://\(address($0))" } ?? ".")
            )
        case "sentinel":
            .fail(
                "role",
                "sentinel",
                "A sentinel keeps no data, but knows who does.",
                do: "Use redis-sentinel://host:port/primary-name, with the name as in `sentinel monitor`."
            )
        case let other?: .fail("role", other, "Only a primary can grant leases.", do: "Use the URL of a primary.")
        }
    }

    private static func address(_ primary: (host: String, port: Int)) -> String {
        (primary.host.contains(":") ? "[\(primary.host)]" : primary.host) + ":\(primary.port)"
    }

    // MARK: - What this user may do

    /// What the server does not do for anybody.
    private static func commands(_ facts: RedisFacts) -> Finding {
        guard let refused = facts.refusedCommands else { return .notTried("commands") }
        let unknown = refused.filter { $0.value.reason == .unknown }.keys.sorted()
        guard !unknown.isEmpty else {
            let without = dispensable(facts) { $0 == .unknown }
            let found = without.isEmpty ? "all are there" : "all that are needed; the server has no \(without)"
            return .ok("commands", found, "Nothing that workers need is renamed.")
        }
        return .fail(
            "commands",
            "the server has no \(unknown.joined(separator: ", "))",
            "Workers send these under their own names: no process can connect, lead or follow without them.",
            do: "Take rename-command out of the server's configuration, or use a server that has them."
        )
    }

    /// What works without, and what follows.
    private static func dispensable(_ facts: RedisFacts, where isMeant: (RedisFacts.Refusal.Reason) -> Bool) -> String {
        let commands = facts.dispensableCommands.filter { isMeant($0.value.reason) }.keys.sorted()
        return commands.map { command in
            switch command {
            case "CLIENT SETNAME": "CLIENT SETNAME (connections have no names)"
            case "CONFIG": "CONFIG (nobody is told its settings)"
            case "ROLE": "ROLE (INFO tells it)"
            case "SELECT": "SELECT (there is database 0 only)"
            default: command
            }
        }.joined(separator: ", ")
    }

    private static func rights(_ facts: RedisFacts) -> Finding {
        guard let refused = facts.refusedCommands else { return .notTried("rights") }
        let user = facts.user.map { "user \($0)" } ?? "this user"
        let lacking = refused.filter { $0.value.reason != .unknown }
        guard let first = lacking.min(by: { $0.key < $1.key }) else {
            let without = dispensable(facts) { $0 != .unknown }
            let found = "\(user) may send every command" + (without.isEmpty ? "" : " that is needed; not \(without)")
            return .ok("rights", found, "A worker can lead and follow as this user.")
        }
        let names = lacking.keys.sorted().joined(separator: ", ")
        return .fail(
            "rights",
            "\(user) may not send \(names): \(first.value.message)",
            "Flights fail, or every process computes for itself.",
            do: "As an administrator: \(rule(for: lacking, facts))"
        )
    }

    /// The command that gives the user what it lacks.
    private static func rule(for lacking: [String: RedisFacts.Refusal], _ facts: RedisFacts) -> String {
        let commands = lacking.filter { $0.value.reason == .command }.keys.sorted().map { "+\($0.lowercased())" }
        let keys = lacking.values.contains { $0.reason == .keys } ? ["~\(facts.prefix):*"] : []
        return (["ACL SETUSER \(facts.user ?? "NAME")"] + keys + commands).joined(separator: " ")
    }

    private static func listing(_ facts: RedisFacts) -> Finding {
        guard let mayScan = facts.mayScan else { return .notTried("listing") }
        if mayScan { return .ok("listing", "SCAN is allowed", "`leases` and `show` work as this user.") }
        return Finding(
            check: "listing",
            status: .skipped,
            found: "SCAN is not allowed",
            meaning: "Workers do not need it; `leases` and `show` do.",
            advice: "Use an operator user, with +scan, to look at leases."
        )
    }

    private static func writes(_ facts: RedisFacts) -> Finding {
        guard let refused = facts.refusedCommands else { return .notTried("writes") }
        if let refusal = refused["SET"] {
            let place = refusal.reason == .unknown ? "commands" : "rights"
            return .fail("writes", "not allowed", "No lease can be granted.", do: "See \(place).")
        }
        guard let error = facts.writeError else { return .ok("writes", "accepted", "Leases can be granted.") }
        let advice =
            switch error.prefix(while: { $0 != " " }) {
            case "READONLY": "Use the URL of the primary."
            case "OOM": "Raise maxmemory, or find out what fills it."
            case "MISCONF": "Turn persistence off (save \"\"), or repair the disk it saves to."
            case "NOREPLICAS": "Bring the replicas back, or lower min-replicas-to-write."
            case "LOADING", "BUSY": "Try again when the server is done."
            case "MOVED", "CLUSTERDOWN": "See CLUSTER INFO, and the lines above on the cluster."
            default: "Ask those who run the server."
            }
        return .fail("writes", error, "No lease can be granted.", do: advice)
    }

    private static func scripts(_ facts: RedisFacts) -> Finding {
        switch facts.scripts {
        case nil: .notTried("scripts")
        case .withShebang: .ok("scripts", "they run, with #!lua", "Flights can be joined, renewed and completed.")
        case .withoutShebang(let reason):
            .warn(
                "scripts",
                "they run, but not with #!lua: \(reason)",
                "A server that is full or read-only stops scripts half-way instead of refusing them.",
                do: "Upgrade the server to 7.0 or later; one that is no Redis must not run out of memory."
            )
        case .refused(let reason):
            .fail("scripts", reason, "Nobody can join, renew or complete a flight.", do: "Allow EVAL and EVALSHA.")
        }
    }

    private static func inbox(_ facts: RedisFacts) -> Finding {
        switch facts.inbox {
        case nil: .notTried("inbox")
        case .delivered(let latency):
            .ok("inbox", "a message came after \(DurationText.describe(latency))", "Waiters are woken by push.")
        case .refused(let reason):
            .fail(
                "inbox",
                reason,
                "Waiters hear of outcomes only when they poll, as late as the end of the lease.",
                do: "As an administrator: ACL SETUSER \(facts.user ?? "NAME") &\(facts.prefix):* "
                    + (facts.cluster == nil ? "+publish +subscribe" : "+spublish +ssubscribe")
            )
        case .silent:
            .fail(
                "inbox",
                "a message was sent and did not come",
                "Waiters hear of outcomes only when they poll, as late as the end of the lease.",
                do: "Look for a proxy that does not do pub/sub, or a server that hangs."
            )
        case .failed(let reason):
            .fail("inbox", reason, "Waiters are not woken by push.", do: "Repair what the error names.")
        }
    }

    // MARK: - Time

    private static func latency(_ facts: RedisFacts) -> Finding {
        let trips = facts.roundTrips
        guard let median = percentile(50, of: trips), let high = percentile(99, of: trips) else {
            return .notTried("latency")
        }
        let found =
            "p50 \(DurationText.describe(median)), p99 \(DurationText.describe(high)) of \(trips.count) round trips"
        // Renewals come every third of a lease and are repeated; what waits so long is near the command timeout's end.
        if high >= .milliseconds(50) {
            return .warn(
                "latency",
                found,
                "Each flight takes one to three round trips, and commands give up after one second.",
                do: "Put the server nearer to the workers, or look for slow commands (SLOWLOG) and swapping."
            )
        }
        return .ok("latency", found, "A flight costs one to three of these.")
    }

    /// The value below which `share` percent lie, by the nearest-rank method; `sorted` is in ascending order.
    static func percentile(_ share: Int, of sorted: [Duration]) -> Duration? {
        guard !sorted.isEmpty else { return nil }
        return sorted[max(0, (sorted.count * share + 99) / 100 - 1)]
    }

    private static func clock(_ facts: RedisFacts) -> Finding {
        guard let offset = facts.clockOffset else { return .skipped("clock", needs: "TIME") }
        let middle = (offset.lower + offset.upper) / 2
        let uncertainty = DurationText.describe((offset.upper - offset.lower) / 2)
        let size = DurationText.describe(middle < .zero ? .zero - middle : middle)
        let found = "the server is \(size) \(middle < .zero ? "behind" : "ahead"), ± \(uncertainty)"
        // What is certain in spite of the round trip.
        let certain = max(offset.lower, .zero - offset.upper)
        if certain > .seconds(1) {
            return .warn(
                "clock",
                found,
                "No lease depends on it, since only the server's clock counts; but ages in `leases` are wrong by it.",
                do: "Synchronize both clocks (NTP)."
            )
        }
        return .ok("clock", found, "Ages that are shown can be trusted; leases depend on the server's clock alone.")
    }
}
