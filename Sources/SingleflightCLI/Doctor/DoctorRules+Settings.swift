import SingleflightRedis

/// How the server is set up. What the server does not tell is skipped.
extension DoctorRules {
    static func eviction(_ facts: RedisFacts) -> Finding {
        guard let policy = facts.settings["maxmemory-policy"] ?? facts.info["maxmemory_policy"] else {
            return .untold("eviction", facts, needs: "CONFIG GET or INFO")
        }
        if policy == "noeviction" {
            return .ok("eviction", policy, "A full server refuses new leases and keeps the ones it has.")
        }
        let advice = "Set maxmemory-policy noeviction."
        // All others remove leases, those of keys with a time to live only them.
        guard bytes("maxmemory", facts) != 0 else {
            return .warn(
                "eviction",
                "\(policy), but there is no limit to evict at",
                "As soon as maxmemory is set, a full server removes leases: two leaders.",
                do: advice
            )
        }
        return .fail("eviction", policy, "A full server removes leases: two leaders.", do: advice)
    }

    static func memory(_ facts: RedisFacts) -> Finding {
        guard let used = bytes("used_memory", facts), let limit = bytes("maxmemory", facts) else {
            return .skipped("memory", needs: "INFO")
        }
        if limit == 0 {
            return .ok(
                "memory",
                "\(size(used)) used, no limit",
                "The machine's memory is the limit; maxmemory sets one."
            )
        }
        let found = "\(size(used)) of \(size(limit)) used"
        if used >= limit {
            return .fail("memory", found, "New leases are refused.", do: "Raise maxmemory, or find out what fills it.")
        }
        if used > limit / 10 * 9 {
            return .warn("memory", found, "New leases will be refused when it is full.", do: "Raise maxmemory.")
        }
        return .ok("memory", found, "There is room.")
    }

    static func persistence(_ facts: RedisFacts) -> Finding {
        let appends = facts.settings["appendonly"].map { $0 == "yes" } ?? facts.info["aof_enabled"].map { $0 == "1" }
        let saves = facts.settings["save"].map { !$0.isEmpty }
        let advice = "Give leases a server of their own with appendonly no and save \"\"."
        let meaning =
            "A restart brings back leases of processes that are long gone, and waiting for the disk slows flights."
        switch (appends, saves) {
        case (true, _): return .warn("persistence", "the append-only file is on", meaning, do: advice)
        case (_, true): return .warn("persistence", "snapshots are on", meaning, do: advice)
        case (false, false): return .ok("persistence", "off", "A restart ends all leases, as it should.")
        case (nil, _), (_, nil): return .untold("persistence", facts)
        }
    }

    static func inboxBuffer(_ facts: RedisFacts) -> Finding {
        let words = facts.settings["client-output-buffer-limit"]?.split(separator: " ").map(String.init) ?? []
        guard let start = words.firstIndex(of: "pubsub"), words.count > start + 3,
            let hard = Int64(words[start + 1]), let soft = Int64(words[start + 2])
        else { return .untold("inbox buffer", facts) }
        let found = "\(limit(hard)), \(limit(soft)) for \(words[start + 3]) s"
        let advice = "Set client-output-buffer-limit pubsub 64mb 16mb 60."
        let smallest = [hard, soft].filter { $0 > 0 }.min() ?? Int64.max
        // An announcement carries 64 KiB at most, and a name.
        if smallest < 128 << 10 {
            return .fail(
                "inbox buffer",
                found,
                "A single announcement can exceed it, and ends the connection of the waiter it is meant for.",
                do: advice
            )
        }
        if smallest < 4 << 20 {
            return .warn(
                "inbox buffer",
                found,
                "Some dozen announcements at once can exceed it; waiters then hear of outcomes by polling, later.",
                do: advice
            )
        }
        return .ok("inbox buffer", found, "Herds of announcements fit.")
    }

    static func replicas(_ facts: RedisFacts) -> Finding {
        guard let connected = facts.info["connected_slaves"].flatMap({ Int($0) }) else {
            return .skipped("replicas", needs: "INFO")
        }
        guard connected > 0 else { return .ok("replicas", "none", "There is no failover that could lose a lease.") }
        guard facts.cluster == nil else {
            return .ok(
                "replicas",
                "\(connected) connected",
                "A primary of a cluster that is cut off from most others stops granting leases after cluster-node-timeout."
            )
        }
        guard let needed = facts.settings["min-replicas-to-write"].flatMap({ Int($0) }),
            let lag = facts.settings["min-replicas-max-lag"].flatMap({ Int($0) })
        else { return .untold("replicas", facts) }
        if needed == 0 || lag == 0 {
            return .warn(
                "replicas",
                "\(connected) connected, none required",
                "A primary that is cut off goes on granting leases, while its replica is made a primary and does too.",
                do: "Set min-replicas-to-write 1 and min-replicas-max-lag 5."
            )
        }
        return .ok(
            "replicas",
            "\(connected) connected, \(needed) required within \(lag) s",
            "A primary that is cut off stops granting leases after that time."
        )
    }

    static func clients(_ facts: RedisFacts) -> Finding {
        guard let connected = bytes("connected_clients", facts), let most = bytes("maxclients", facts), most > 0 else {
            return .skipped("clients", needs: "INFO")
        }
        let found = "\(connected) of \(most)"
        let left = most - connected
        let advice = "Raise maxclients, or see who holds the connections (CLIENT LIST)."
        if left < 2 {
            return .fail("clients", found, "Each process takes two: no more can connect.", do: advice)
        }
        // A deployment that replaces its processes has both kinds for a while.
        if left < 20 || connected * 5 > most * 4 {
            return .warn("clients", found, "Each process takes two; soon no more can connect.", do: advice)
        }
        return .ok("clients", found, "Each process takes two.")
    }

    static func idleTimeout(_ facts: RedisFacts) -> Finding {
        guard let seconds = facts.settings["timeout"].flatMap({ Int($0) }) else {
            return .untold("idle timeout", facts)
        }
        // A silent connection is sent a PING every five seconds.
        if (1..<10).contains(seconds) {
            return .warn(
                "idle timeout",
                "\(seconds) s",
                "Connections are closed between two flights, so that the next one waits for a new connection.",
                do: "Set timeout 0."
            )
        }
        return .ok("idle timeout", seconds == 0 ? "none" : "\(seconds) s", "Idle workers stay connected.")
    }

    static func keepalive(_ facts: RedisFacts) -> Finding {
        guard let seconds = facts.settings["tcp-keepalive"].flatMap({ Int($0) }) else {
            return .untold("keepalive", facts)
        }
        if seconds == 0 {
            return .warn(
                "keepalive",
                "off",
                "Connections of hosts that vanished stay, and announcements to them pile up.",
                do: "Set tcp-keepalive 30."
            )
        }
        return .ok("keepalive", "\(seconds) s", "Connections of hosts that vanished are found and closed.")
    }

    private static func bytes(_ field: String, _ facts: RedisFacts) -> Int64? {
        facts.info[field].flatMap { Int64($0) }
    }

    private static func limit(_ bytes: Int64) -> String { bytes == 0 ? "no limit" : size(bytes) }

    private static func size(_ bytes: Int64) -> String {
        switch bytes {
        case ..<1_024: "\(bytes) B"
        case ..<(1 << 20): "\(bytes >> 10) KiB"
        default: "\(bytes >> 20) MiB"
        }
    }
}
