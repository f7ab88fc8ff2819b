import SingleflightRedis
import Testing

@testable import SingleflightCLI

/// What to think of facts, without a server.
@Suite("Doctor: rules")
struct DoctorRulesTests {
    /// All is well, and the user may know everything.
    static let healthy: RedisFacts = {
        var facts = RedisFacts()
        facts.user = "operator"
        facts.role = "master"
        facts.info = [
            "redis_version": "7.0.15", "cluster_enabled": "0", "used_memory": "1000000", "maxmemory": "0",
            "maxmemory_policy": "noeviction", "aof_enabled": "0", "connected_slaves": "0", "connected_clients": "2",
            "maxclients": "10000",
        ]
        facts.settings = [
            "maxmemory-policy": "noeviction", "appendonly": "no", "save": "", "min-replicas-to-write": "0",
            "min-replicas-max-lag": "10", "timeout": "0", "tcp-keepalive": "300",
            "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ]
        facts.inbox = .delivered(after: .microseconds(200))
        facts.clockOffset = .init(lower: .microseconds(-50), upper: .microseconds(50))
        facts.roundTrips = Array(repeating: .microseconds(100), count: 100)
        return facts
    }()

    private func status(_ check: String, _ change: (inout RedisFacts) -> Void) throws -> Finding.Status {
        var facts = Self.healthy
        change(&facts)
        return try #require(DoctorRules.findings(of: facts).first { $0.check == check }).status
    }

    @Test("a server that is set up well passes every check")
    func healthy() {
        let findings = DoctorRules.findings(of: Self.healthy)
        #expect(findings.filter { $0.status != .ok } == [])
        #expect(Set(findings.map(\.check)).count == findings.count)
    }

    @Test("where nothing may be known, nothing is claimed and nothing fails")
    func blind() {
        var facts = RedisFacts()
        facts.inbox = .delivered(after: .zero)
        facts.roundTrips = [.zero]
        let statuses = DoctorRules.findings(of: facts).reduce(into: [:]) { $0[$1.check] = $1.status }
        let known = statuses.filter { $0.value != .skipped }.keys
        #expect(known.sorted() == ["inbox", "latency", "listing", "rights", "scripts", "writes"])
        #expect(!statuses.values.contains { $0 > .ok })
    }

    @Test("what is not in order says what to do")
    func advice() {
        var facts = RedisFacts()
        facts.refusedCommands = ["SET": "NOPERM"]
        facts.inbox = .silent
        facts.scripts = .none("ERR")
        facts.role = "slave"
        for finding in DoctorRules.findings(of: facts) where finding.status != .ok {
            #expect(finding.advice?.isEmpty == false, "\(finding.check)")
        }
    }

    @Test(
        "the oldest version that works is 6.2, and the oldest that works well 7.0",
        arguments: [
            ("5.0.14", Finding.Status.fail), ("6.0.20", .fail), ("6.2.0", .warn), ("6.2.14", .warn), ("7.0.0", .ok),
            ("7.4.1", .ok), ("8.2.0", .ok), ("10.0.0", .ok),
        ]
    )
    func versions(_ version: String, _ expected: Finding.Status) throws {
        #expect(try status("version") { $0.info["redis_version"] = version } == expected)
    }

    @Test("Valkey is called by its name and judged by the Redis it stands for")
    func valkey() throws {
        var facts = Self.healthy
        facts.info["valkey_version"] = "8.1.0"
        facts.info["redis_version"] = "7.2.4"
        let finding = try #require(DoctorRules.findings(of: facts).first)
        #expect(finding.found == "Valkey 8.1.0")
        #expect(finding.status == .ok)
    }

    @Test(
        "eviction of keys with a time to live fails, that of any key is a warning",
        arguments: [
            ("noeviction", Finding.Status.ok), ("volatile-lru", .fail), ("volatile-ttl", .fail), ("allkeys-lfu", .warn),
        ]
    )
    func eviction(_ policy: String, _ expected: Finding.Status) throws {
        #expect(try status("eviction") { $0.settings["maxmemory-policy"] = policy } == expected)
        let fromInfo = try status("eviction") {
            $0.settings["maxmemory-policy"] = nil
            $0.info["maxmemory_policy"] = policy
        }
        #expect(fromInfo == expected)
    }

    @Test(
        "memory is a matter of how much is left",
        arguments: [
            (0, 0, Finding.Status.ok), (89, 100, .ok), (95, 100, .warn), (100, 100, .fail), (120, 100, .fail),
        ]
    )
    func memory(_ used: Int, _ limit: Int, _ expected: Finding.Status) throws {
        let status = try status("memory") {
            $0.info["used_memory"] = "\(used << 20)"
            $0.info["maxmemory"] = "\(limit << 20)"
        }
        #expect(status == expected)
    }

    @Test(
        "a buffer must hold an announcement, and had better hold many; 0 is no limit",
        arguments: [
            ("pubsub 0 0 0", Finding.Status.ok), ("pubsub 33554432 8388608 60", .ok), ("pubsub 8388608 0 0", .ok),
            ("pubsub 33554432 1048576 60", .warn), ("pubsub 65536 0 0", .fail), ("pubsub 33554432 1024 1", .fail),
            ("pubsub", .skipped),
        ]
    )
    func buffers(_ limits: String, _ expected: Finding.Status) throws {
        let status = try status("inbox buffer") { $0.settings["client-output-buffer-limit"] = "normal 0 0 0 " + limits }
        #expect(status == expected)
    }

    @Test(
        "the clock warns only of an offset that the round trip cannot explain",
        arguments: [
            (-0.5, 0.5, Finding.Status.ok), (0.9, 1.1, .ok), (1.1, 1.2, .warn), (-1.2, -1.1, .warn), (-1.1, -0.9, .ok),
            (-3.0, 3.0, .ok), (3_600.0, 3_600.1, .warn),
        ]
    )
    func clocks(_ lower: Double, _ upper: Double, _ expected: Finding.Status) throws {
        let status = try status("clock") {
            $0.clockOffset = .init(lower: .seconds(lower), upper: .seconds(upper))
        }
        #expect(status == expected)
    }

    @Test("the clock tells the direction of its offset")
    func directions() throws {
        var facts = Self.healthy
        facts.clockOffset = .init(lower: .seconds(-61), upper: .seconds(-59))
        let behind = try #require(DoctorRules.findings(of: facts).first { $0.check == "clock" })
        #expect(behind.found == "the server is 1 min behind, ± 1.0 s")
        facts.clockOffset = .init(lower: .seconds(59), upper: .seconds(61))
        let ahead = try #require(DoctorRules.findings(of: facts).first { $0.check == "clock" })
        #expect(ahead.found == "the server is 1 min ahead, ± 1.0 s")
    }

    @Test("replicas need a rule that stops a primary which is cut off")
    func replicas() throws {
        #expect(try status("replicas") { $0.info["connected_slaves"] = "1" } == .warn)
        let required = try status("replicas") {
            $0.info["connected_slaves"] = "1"
            $0.settings["min-replicas-to-write"] = "1"
        }
        #expect(required == .ok)
    }

    @Test("a write that is not accepted fails, and an OK elsewhere does not hide it")
    func writes() throws {
        for error in ["OOM command not allowed", "MISCONF Redis is", "NOREPLICAS Not enough", "READONLY You can't"] {
            #expect(try status("writes") { $0.writeError = error } == .fail)
        }
        #expect(try status("cluster") { $0.writeError = "MOVED 1 127.0.0.1:2" } == .fail)
    }

    @Test("slow answers, short idle timeouts, few connections and persistence are warnings")
    func warnings() throws {
        #expect(try status("latency") { $0.roundTrips[98] = .milliseconds(60) } == .warn)
        #expect(try status("idle timeout") { $0.settings["timeout"] = "5" } == .warn)
        #expect(try status("keepalive") { $0.settings["tcp-keepalive"] = "0" } == .warn)
        #expect(try status("clients") { $0.info["connected_clients"] = "9500" } == .warn)
        #expect(try status("persistence") { $0.settings["save"] = "3600 1" } == .warn)
        #expect(try status("persistence") { $0.settings["appendonly"] = "yes" } == .warn)
        #expect(try status("scripts") { $0.scripts = .withoutShebang } == .warn)
    }

    @Test("the report is as bad as its worst finding, and a skipped one is not bad")
    func worst() {
        func status(_ statuses: Finding.Status...) -> Finding.Status {
            let findings = statuses.map { Finding(check: "", status: $0, found: "", meaning: "", advice: nil) }
            return DoctorReport(url: "redis://u:secret@h", namespace: "n", findings: findings).status
        }
        #expect(status(.ok, .skipped) == .ok)
        #expect(status(.warn, .ok) == .warn)
        #expect(status(.warn, .fail, .skipped) == .fail)
        #expect(DoctorReport(url: "redis://u:secret@h", namespace: "n", findings: []).url == "redis://u:***@h")
    }
}
