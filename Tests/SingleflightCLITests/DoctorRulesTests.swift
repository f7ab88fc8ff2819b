import Foundation
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
        facts.refusedCommands = [:]
        facts.mayScan = true
        facts.scripts = .withShebang
        facts.prefix = "sf2"
        facts.inbox = .delivered(after: .microseconds(200))
        facts.clockOffset = .init(lower: .microseconds(-50), upper: .microseconds(50))
        facts.roundTrips = Array(repeating: .microseconds(100), count: 100)
        return facts
    }()

    private func status(_ check: String, _ change: (inout RedisFacts) -> Void) throws -> Finding.Status {
        var facts = Self.healthy
        change(&facts)
        return try #require(DoctorRules.findings(of: facts, at: .zero).first { $0.check == check }).status
    }

    @Test("a server that is set up well passes every check")
    func healthy() {
        let findings = DoctorRules.findings(of: Self.healthy, at: .zero)
        #expect(findings.filter { $0.status != .ok } == [])
        #expect(Set(findings.map(\.check)).count == findings.count)
    }

    @Test("where nothing may be known, nothing is claimed and nothing fails")
    func blind() {
        var facts = RedisFacts()
        facts.refusedCommands = [:]
        facts.mayScan = true
        facts.scripts = .withShebang
        facts.inbox = .delivered(after: .zero)
        facts.roundTrips = [.zero]
        let statuses = DoctorRules.findings(of: facts, at: .zero).reduce(into: [:]) { $0[$1.check] = $1.status }
        let known = statuses.filter { $0.value != .skipped }.keys
        #expect(
            known.sorted() == ["commands", "connection", "inbox", "latency", "listing", "rights", "scripts", "writes"]
        )
        #expect(!statuses.values.contains { $0 > .ok })
    }

    @Test("what is not in order says what to do")
    func advice() {
        var facts = RedisFacts()
        facts.refusedCommands = ["SET": .init(.command, "NOPERM"), "GET": .init(.unknown, "ERR")]
        facts.inbox = .silent
        facts.scripts = .refused("ERR")
        facts.role = "slave"
        for finding in DoctorRules.findings(of: facts, at: .zero) where finding.status != .ok {
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
        let finding = try #require(DoctorRules.findings(of: facts, at: .zero).first { $0.check == "version" })
        #expect(finding.found == "Valkey 8.1.0")
        #expect(finding.status == .ok)
    }

    @Test(
        "a policy that evicts leases fails where there is a limit to evict at, whatever it begins with",
        arguments: [
            ("noeviction", Finding.Status.ok, Finding.Status.ok), ("volatile-lru", .fail, .warn),
            ("volatile-ttl", .fail, .warn), ("allkeys-lru", .fail, .warn), ("allkeys-random", .fail, .warn),
        ]
    )
    func eviction(_ policy: String, _ limited: Finding.Status, _ unlimited: Finding.Status) throws {
        for (limit, expected) in [("1000000000", limited), ("0", unlimited), (nil, limited)] {
            let status = try status("eviction") {
                $0.settings["maxmemory-policy"] = policy
                $0.info["maxmemory"] = limit
            }
            #expect(status == expected)
            let fromInfo = try self.status("eviction") {
                $0.settings["maxmemory-policy"] = nil
                $0.info["maxmemory_policy"] = policy
                $0.info["maxmemory"] = limit
            }
            #expect(fromInfo == expected)
        }
    }

    @Test(
        "connections that run out are a warning while some are left, and a failure when a process cannot connect",
        arguments: [
            (2, 10_000, Finding.Status.ok), (7_900, 10_000, .ok), (8_100, 10_000, .warn), (9_999, 10_000, .fail),
            (18, 20, .warn), (19, 20, .fail), (20, 20, .fail), (30, 50, .ok), (31, 50, .warn),
        ]
    )
    func clients(_ connected: Int, _ most: Int, _ expected: Finding.Status) throws {
        let status = try status("clients") {
            $0.info["connected_clients"] = "\(connected)"
            $0.info["maxclients"] = "\(most)"
        }
        #expect(status == expected)
    }

    @Test("what a user lacks is told as the line that gives it")
    func missingRule() throws {
        var facts = Self.healthy
        facts.user = "worker"
        facts.refusedCommands = [
            "HSET": .init(.command, "NOPERM no permissions to run the 'hset' command"),
            "EVAL": .init(.command, "NOPERM no permissions to run the 'eval' command"),
            "SET": .init(.keys, "NOPERM No permissions to access a key"),
        ]
        facts.inbox = .refused("NOPERM No permissions to access a channel")
        let findings = DoctorRules.findings(of: facts, at: .zero)
        let rights = try #require(findings.first { $0.check == "rights" })
        #expect(rights.advice == "As an administrator: ACL SETUSER worker ~sf2:* +eval +hset")
        let inbox = try #require(findings.first { $0.check == "inbox" })
        #expect(inbox.advice == "As an administrator: ACL SETUSER worker &sf2:* +publish +subscribe")
    }

    @Test("a command that was renamed away is a failure of its own, and no missing right")
    func renamed() throws {
        var facts = Self.healthy
        facts.refusedCommands = ["ROLE": .init(.unknown, "ERR unknown command 'ROLE'")]
        let findings = DoctorRules.findings(of: facts, at: .zero)
        #expect(findings.filter { $0.status != .ok }.map(\.check) == ["commands"])
        #expect(findings.first { $0.check == "commands" }?.found == "the server has no ROLE")
    }

    @Test("a command that nobody needs is told where it is missing, and is no failure")
    func dispensable() throws {
        var facts = Self.healthy
        facts.user = "worker"
        facts.dispensableCommands = [
            "ROLE": .init(.unknown, "ERR unknown command 'ROLE'"), "SELECT": .init(.command, "NOPERM"),
        ]
        let findings = DoctorRules.findings(of: facts, at: .zero)
        #expect(findings.filter { $0.status != .ok } == [])
        let found = findings.reduce(into: [:]) { $0[$1.check] = $1.found }
        #expect(found["commands"] == "all that are needed; the server has no ROLE (INFO tells it)")
        let rights = "user worker may send every command that is needed; not SELECT (there is database 0 only)"
        #expect(found["rights"] == rights)
    }

    @Test("settings that nobody is told are not known, and no operator can find them out")
    func untold() throws {
        var facts = Self.healthy
        facts.settings = [:]
        facts.dispensableCommands = ["CONFIG": .init(.unknown, "ERR unknown command 'CONFIG'")]
        let findings = DoctorRules.findings(of: facts, at: .zero)
        let skipped = findings.filter { $0.status == .skipped }
        // INFO tells the policy, and that there are no replicas.
        #expect(skipped.map(\.check) == ["persistence", "inbox buffer", "idle timeout", "keepalive"])
        #expect(skipped.allSatisfy { $0.found == "not told: the server has no CONFIG" })
        let report = DoctorReport(url: "redis://h", namespace: "n", findings: findings)
        #expect(try !report.text(as: .table, for: Terminal()).contains("more rights"))
    }

    @Test(
        "a compatible server is called by its name, whatever Redis it says it is",
        arguments: [("dragonfly_version", "df-v1.30.0", "Dragonfly"), ("kvrocks_version", "2.10.0", "kvrocks")]
    )
    func compatible(_ field: String, _ version: String, _ name: String) throws {
        var facts = Self.healthy
        facts.info["redis_version"] = "4.0.0"
        facts.info[field] = version
        let finding = try #require(DoctorRules.findings(of: facts, at: .zero).first { $0.check == "version" })
        #expect(finding.found == "\(name) \(version)")
        #expect(finding.status == .warn)
    }

    @Test("a replica is told with its primary's URL")
    func primary() throws {
        var facts = Self.healthy
        facts.role = "slave"
        facts.primary = ("2001:db8::1", 6_380)
        let finding = try #require(DoctorRules.findings(of: facts, at: .zero).first { $0.check == "role" })
        #expect(finding.advice == "Use the URL of its primary: redis://[2001:db8::1]:6380")
    }

    @Test(
        "the end of the server's certificate is a warning two weeks ahead, and a failure a day ahead",
        arguments: [(nil, Finding.Status.ok), (15.0, .ok), (13.0, .warn), (0.9, .fail), (-1.0, .fail)]
    )
    func certificate(_ days: Double?, _ expected: Finding.Status) throws {
        var facts = Self.healthy
        let now = Duration.seconds(1_700_000_000)
        facts.certificateEnd = days.map { now + .seconds($0 * 86_400) }
        let finding = try #require(DoctorRules.findings(of: facts, at: now).first)
        #expect(finding.check == "connection")
        #expect(finding.status == expected)
    }

    @Test("without a connection there is one finding, which says what to do, and never to run doctor")
    func unreachable() throws {
        for (code, message) in [
            (LeaseStoreError.Code.unavailable, "cannot connect: refused"), (.refused, "AUTH was refused"),
            (.timedOut, "no answer"),
        ] {
            var facts = RedisFacts()
            facts.failure = LeaseStoreError(code, message)
            let findings = DoctorRules.findings(of: facts, at: .zero)
            #expect(findings.map(\.check) == ["connection"])
            #expect(findings[0].status == .fail && findings[0].found == message)
            #expect(findings[0].advice?.contains("doctor") == false)
        }
    }

    @Test("a server that stops to answer half-way leaves what was not tried as that, and not as ok")
    func interrupted() throws {
        var facts = RedisFacts()
        facts.info = ["redis_version": "7.0.15"]
        facts.failure = LeaseStoreError(.timedOut, "no answer")
        let statuses = DoctorRules.findings(of: facts, at: .zero).reduce(into: [:]) { $0[$1.check] = $1.status }
        #expect(statuses.filter { $0.value == .ok }.keys.sorted() == ["version"])
        #expect(statuses["connection"] == .fail)
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
        let behind = try #require(DoctorRules.findings(of: facts, at: .zero).first { $0.check == "clock" })
        #expect(behind.found == "the server is 1 min behind, ± 1.0 s")
        facts.clockOffset = .init(lower: .seconds(59), upper: .seconds(61))
        let ahead = try #require(DoctorRules.findings(of: facts, at: .zero).first { $0.check == "clock" })
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

    @Test("slow answers, short idle timeouts and persistence are warnings")
    func warnings() throws {
        #expect(try status("latency") { $0.roundTrips[98] = .milliseconds(60) } == .warn)
        #expect(try status("idle timeout") { $0.settings["timeout"] = "5" } == .warn)
        #expect(try status("keepalive") { $0.settings["tcp-keepalive"] = "0" } == .warn)
        #expect(try status("persistence") { $0.settings["save"] = "3600 1" } == .warn)
        #expect(try status("persistence") { $0.settings["appendonly"] = "yes" } == .warn)
        #expect(try status("scripts") { $0.scripts = .withoutShebang("ERR") } == .warn)
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

    @Test(
        "on a narrow terminal the report is broken between words, and no line is wider",
        arguments: [40, 60, 80, 140]
    )
    func narrow(_ columns: Int) throws {
        var facts = Self.healthy
        facts.settings["maxmemory-policy"] = "allkeys-lru"
        facts.settings["tcp-keepalive"] = "0"
        let report = DoctorReport(
            url: "redis://h",
            namespace: "n",
            findings: DoctorRules.findings(of: facts, at: .zero)
        )
        for isASCII in [false, true] {
            let terminal = Terminal(isInteractive: true, width: columns, isASCII: isASCII)
            let text = try report.text(as: .table, for: terminal)
            let lines = text.split(separator: "\n")
            #expect(lines.allSatisfy { SafeText.width(String($0)) <= columns })
            #expect(!isASCII || text.allSatisfy(\.isASCII))
            #expect(!isASCII || text.contains("100 us") && text.contains("+/-"))
            #expect(lines.map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: " ").contains("pile up."))
        }
    }
}
