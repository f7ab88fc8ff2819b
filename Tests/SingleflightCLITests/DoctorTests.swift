import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@testable import SingleflightCLI

/// Servers that are set up badly on purpose.
@Suite("Doctor: servers", .usesServer, .timeLimit(.minutes(4)))
struct DoctorTests {
    /// The rules of docs/protocol.md, "Least privilege".
    private static let worker = """
        resetchannels &sf2:* ~sf2:* -@all +set +get +del +hset +hget +hdel +hlen +hkeys +hrandfield +rpush +llen +lrange +pexpire \
        +pttl +strlen +publish +evalsha +eval +script|load +subscribe +unsubscribe +ping +time +role +client|setname +auth +select
        """

    private static func findings(
        _ url: String,
        wallClock: @escaping @Sendable () -> Duration = { .seconds(Date().timeIntervalSince1970) }
    ) async throws -> [String: Finding] {
        let facts = try await RedisProbe.facts(
            url: url,
            configuration: .init(namespace: "test", label: "doctor"),
            wallClock: wallClock
        )
        let findings = DoctorRules.findings(of: facts, at: .seconds(Date().timeIntervalSince1970))
        return Dictionary(uniqueKeysWithValues: findings.map { ($0.check, $0) })
    }

    private static func findings(ofServerWith lines: String...) async throws -> [String: Finding] {
        try await PrivateRedis.with(.init(extraLines: lines)) { try await findings($0.url) }
    }

    private static func url(_ redis: PrivateRedis, user: String) throws -> String {
        "redis+unix://\(user):pw@\(try #require(redis.socketPath))"
    }

    /// Without the latency: how quick a server is on a machine that does other things is not what these tests are
    /// about.
    private static func checks(_ findings: [String: Finding], _ status: Finding.Status) -> [String] {
        findings.values.filter { $0.status == status && $0.check != "latency" }.map(\.check).sorted()
    }

    /// What is a warning on every server before 7.0.
    private static let warnings = ServerVersion.current.isBefore7 ? ["scripts", "version"] : []

    @Test("a server with nothing but defaults is fit, and nothing is left on it")
    func healthy() async throws {
        try await PrivateRedis.with { redis in
            let findings = try await Self.findings(redis.url)
            #expect(Self.checks(findings, .ok).count == findings.count - 1 - Self.warnings.count)
            #expect(Self.checks(findings, .warn) == Self.warnings)
            #expect(try await redis.command("DBSIZE") == ":0\r\n")
        }
    }

    @Test("the least privileged user passes, and what it may not know is skipped")
    func leastPrivilege() async throws {
        try await PrivateRedis.with(.init(users: ["w on >pw \(Self.worker)"])) { redis in
            let findings = try await Self.findings(try Self.url(redis, user: "w"))
            // Such a user is not told the version.
            let warnings = Self.warnings.filter { $0 == "scripts" }
            #expect(
                Self.checks(findings, .ok)
                    == [
                        "clock", "commands", "connection", "inbox", "rights", "role", "scripts", "writes",
                    ].filter { !warnings.contains($0) }
            )
            #expect(Self.checks(findings, .fail) == [])
            #expect(Self.checks(findings, .warn) == warnings)
            #expect(try await redis.command("DBSIZE") == ":0\r\n")
        }
    }

    @Test(
        "every right that a worker lacks is found",
        arguments: [
            "set", "get", "del", "hset", "hget", "hdel", "hlen", "hkeys", "hrandfield", "pexpire", "pttl", "strlen",
            "rpush", "llen", "lrange", "evalsha", "eval",
        ]
    )
    func missingRight(_ command: String) async throws {
        try await PrivateRedis.with(.init(users: ["w on >pw \(Self.worker) -\(command)"])) { redis in
            let finding = try #require(try await Self.findings(try Self.url(redis, user: "w"))["rights"])
            #expect(finding.status == .fail)
            #expect(finding.found.contains("may not send \(command.uppercased()):"))
        }
    }

    @Test("whatever rights are missing, no key is left behind")
    func nothingLeft() async throws {
        try await PrivateRedis.with(.init(users: ["w on >pw \(Self.worker) -set -hdel -pexpire -del"])) { redis in
            let findings = try await Self.findings(try Self.url(redis, user: "w"))
            #expect(findings["rights"]?.found.contains("DEL, HDEL, PEXPIRE, SET") == true)
            #expect(try await redis.command("DBSIZE") == ":0\r\n")
        }
    }

    @Test("a user without the channels, or without publish, has no inbox", arguments: ["resetchannels", "-publish"])
    func missingChannel(_ rule: String) async throws {
        try await PrivateRedis.with(.init(users: ["w on >pw \(Self.worker) \(rule)"])) { redis in
            let finding = try #require(try await Self.findings(try Self.url(redis, user: "w"))["inbox"])
            #expect(finding.status == .fail)
            #expect(finding.found.hasPrefix("NOPERM"))
        }
    }

    @Test("a user of other keys may send nothing")
    func missingKeys() async throws {
        try await PrivateRedis.with(.init(users: ["w on >pw \(Self.worker) resetkeys ~other:*"])) { redis in
            let findings = try await Self.findings(try Self.url(redis, user: "w"))
            #expect(findings["rights"]?.status == .fail)
            #expect(findings["writes"]?.status == .fail)
            #expect(try await redis.command("DBSIZE") == ":0\r\n")
        }
    }

    @Test("a policy that evicts leases fails")
    func eviction() async throws {
        let findings = try await Self.findings(ofServerWith: "maxmemory-policy volatile-lru", "maxmemory 100mb")
        #expect(Self.checks(findings, .fail) == ["eviction"])
    }

    @Test("a buffer that no announcement fits in fails")
    func buffer() async throws {
        let findings = try await Self.findings(ofServerWith: "client-output-buffer-limit pubsub 1kb 1kb 1")
        #expect(Self.checks(findings, .fail) == ["inbox buffer"])
    }

    @Test("persistence is a warning")
    func persistence() async throws {
        let findings = try await Self.findings(ofServerWith: "appendonly yes")
        #expect(Self.checks(findings, .warn) == (["persistence"] + Self.warnings).sorted())
        #expect(Self.checks(findings, .fail) == [])
    }

    @Test("a full server takes no leases")
    func full() async throws {
        let findings = try await Self.findings(ofServerWith: "maxmemory 100kb")
        #expect(Self.checks(findings, .fail) == ["memory", "writes"])
        #expect(findings["writes"]?.found.hasPrefix("OOM") == true)
    }

    @Test("a node of a cluster that serves no slots fails")
    func cluster() async throws {
        // On a port of its own: without one all cluster nodes of a machine want the bus port 10000, as two runs did.
        let findings = try await PrivateRedis.with(
            .init(listening: .tcp(.free), extraLines: ["cluster-enabled yes"])
        ) { try await Self.findings($0.url) }
        #expect(findings["cluster"]?.status == .fail)
        #expect(findings["writes"]?.found.hasPrefix("CLUSTERDOWN") == true)
    }

    @Test("a replica fails, and that it takes no writes is not mistaken for a missing right")
    func replica() async throws {
        try await PrivateRedis.with(.init(listening: .tcp(.free))) { primary in
            let port = try #require(primary.port)
            try await PrivateRedis.with(
                .init(extraLines: ["replicaof 127.0.0.1 \(port)", "repl-diskless-sync-delay 0"])
            ) {
                let findings = try await Self.findings($0.url)
                #expect(findings["role"]?.found == "replica of 127.0.0.1:\(port)")
                #expect(findings["role"]?.advice == "Use the URL of its primary: redis://127.0.0.1:\(port)")
                #expect(Self.checks(findings, .fail).contains("role"))
                #expect(findings["writes"]?.status == .fail)
                // READONLY means that the right is there.
                #expect(findings["rights"]?.status == .ok)
                // The replica refused the script, which says nothing of whether it could run it; a version can say it.
                #expect(findings["scripts"]?.status == (ServerVersion.current.isBefore7 ? .warn : .skipped))
            }
        }
    }

    @Test("a clock that is an hour off is a warning in either direction", arguments: [-3_600.0, 3_600.0])
    func clock(_ offset: Double) async throws {
        try await PrivateRedis.with { redis in
            let findings = try await Self.findings(redis.url) { .seconds(Date().timeIntervalSince1970 - offset) }
            let finding = try #require(findings["clock"])
            #expect(finding.status == .warn)
            #expect(finding.found.hasPrefix("the server is 1 h \(offset < 0 ? "behind" : "ahead")"))
        }
    }

    // MARK: - In every state

    /// Runs doctor as JSON and as a table, and sees that both tell of the same failures and end with `status`.
    private static func expect(
        _ failures: [String],
        status: Int32 = 1,
        url: String,
        _ location: SourceLocation = #_sourceLocation
    ) async throws {
        struct Report: Decodable { let findings: [Finding] }
        let environment = ["SINGLEFLIGHT_URL": url]
        let json = try await Tool.run("doctor", "--output", "json", environment: environment)
        let report = try JSONDecoder().decode(Report.self, from: Data(json.output.utf8))
        let failed = report.findings.filter { $0.status == .fail }
        #expect(failed.map(\.check).sorted() == failures, "\(failed)", sourceLocation: location)
        #expect(failed.allSatisfy { $0.advice?.contains("doctor") == false }, sourceLocation: location)
        let table = try await Tool.run("doctor", environment: environment)
        for finding in failed {
            #expect(table.output.contains("fail     \(finding.check)"), sourceLocation: location)
        }
        for run in [json, table] {
            #expect(run.status == status, sourceLocation: location)
            #expect(run.messages.isEmpty, "\(run.messages)", sourceLocation: location)
        }
    }

    @Test("a server that cannot save to its disk is told as that, although it answers not even PING")
    func misconfigured() async throws {
        try await PrivateRedis.with(.init(extraLines: ServerVersion.current.lines(["enable-protected-configs yes"]))) {
            redis in
            _ = try await redis.command("CONFIG", "SET", "save", "3600 1")
            // The name of a directory, the one above the server's own: nothing can be renamed to that.
            _ = try await redis.command("CONFIG", "SET", "dbfilename", "..")
            _ = try await redis.command("BGSAVE")
            try await until("the server to find that it cannot save") {
                try await redis.command("INFO", "persistence").contains("rdb_last_bgsave_status:err")
            }
            try await Self.expect(["writes"], url: redis.url)
        }
    }

    @Test("a user without +ping is told the line that it lacks, and not that nothing can be reached")
    func withoutPing() async throws {
        try await PrivateRedis.with(.init(users: ["w on >pw \(Self.worker) -ping"])) { redis in
            let url = try Self.url(redis, user: "w")
            try await Self.expect(["rights"], url: url)
            let run = try await Tool.run("doctor", "--url", url)
            #expect(run.output.contains("ACL SETUSER w +ping"))
        }
    }

    @Test("a server without free connections is told as that")
    func withoutConnections() async throws {
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { _ in
                // That of the store is there already, and stays.
                _ = try await redis.command("CONFIG", "SET", "maxclients", "1")
                try await Self.expect(["connection"], status: 69, url: redis.url)
            }
        }
    }

    @Test(
        "commands that were renamed away are told, and nothing that needs them is ok",
        arguments: ["STRLEN", "EVALSHA"]
    )
    func renamed(_ command: String) async throws {
        try await PrivateRedis.with(.init(extraLines: ["rename-command \(command) \"\""])) { redis in
            try await Self.expect(["commands"], url: redis.url)
        }
        try await PrivateRedis.with(.init(extraLines: ["rename-command SET \"\""])) { redis in
            try await Self.expect(["commands", "writes"], url: redis.url)
        }
    }

    @Test("where there is no server, or a password is wrong, there is a report all the same")
    func unreachable() async throws {
        try await Self.expect(["connection"], status: 69, url: "redis://127.0.0.1:1")
        try await PrivateRedis.with(.init(password: "right")) { redis in
            let socket = try #require(redis.socketPath)
            try await Self.expect(["connection"], status: 77, url: "redis+unix://:guess@\(socket)")
            try await Self.expect(["connection"], status: 77, url: "redis+unix://\(socket)")
        }
    }

    @Test("a worker's URL for leases is told which right is missing, in words")
    func workerLists() async throws {
        try await PrivateRedis.with(.init(users: ["w on >pw \(Self.worker)"])) { redis in
            let url = try Self.url(redis, user: "w")
            for arguments in [["leases"], ["show", "k"], ["namespaces"]] {
                let run = try await Tool.run(arguments, environment: ["SINGLEFLIGHT_URL": url])
                #expect(run.status == 77)
                #expect(run.messages.contains("+scan") && run.messages.contains("an operator"), "\(run.messages)")
                #expect(run.messages.split(separator: "\n").count == 1)
            }
        }
    }

    // MARK: - From outside

    @Test("the exit status is 0 for warnings and 1 for failures")
    func statuses() async throws {
        let warned = try await PrivateRedis.with(.init(extraLines: ["appendonly yes"])) {
            try await Tool.run("doctor", "--url", $0.url)
        }
        #expect(warned.status == 0)
        #expect(warned.output.contains("warn"))
        let failed = try await PrivateRedis.with(
            .init(extraLines: ["maxmemory-policy volatile-ttl", "maxmemory 100mb"])
        ) {
            try await Tool.run("doctor", "--url", $0.url)
        }
        #expect(failed.status == 1)
        #expect(failed.output.contains("maxmemory-policy noeviction"))
        #expect(failed.messages.isEmpty)
    }

    @Test("a wrong password is status 77 and not printed; no server at all is 69")
    func refused() async throws {
        let wrong = try await PrivateRedis.with(.init(password: "right")) { redis in
            try await Tool.run("doctor", "--url", "redis+unix://:guess@\(try #require(redis.socketPath))")
        }
        #expect(wrong.status == 77)
        #expect(!(wrong.output + wrong.messages).contains("guess"))
        #expect(try await Tool.run("doctor", "--url", "redis+unix:///nowhere/redis.sock").status == 69)
    }

    @Test("JSON is one document, without a password")
    func json() async throws {
        let run = try await PrivateRedis.with(.init(password: "hush")) {
            try await Tool.run("doctor", "--url", $0.url, "--output", "json")
        }
        struct Report: Decodable {
            let status: Finding.Status
            let findings: [Finding]
        }
        let report = try JSONDecoder().decode(Report.self, from: Data(run.output.utf8))
        // What a busy machine makes slow may be told as slow.
        let warnings = Self.warnings + ["latency"]
        #expect(report.findings.allSatisfy { $0.status == .ok || warnings.contains($0.check) })
        #expect(report.status == report.findings.map(\.status).max())
        #expect(report.findings.contains { $0.check == "rights" && $0.status == .ok })
        #expect(!run.output.contains("hush"))
    }
}
