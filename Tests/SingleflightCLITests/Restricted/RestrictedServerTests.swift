import Foundation
import HiredisClient
import Logging
import SingleflightRedis
import TestSupport
import Testing

@testable import SingleflightCLI

/// Servers that are managed by others, or only compatible with Redis. None of them can be had here: a proxy in front of
/// a Redis refuses what they refuse.
@Suite("Servers that do not do everything", .usesServer, .timeLimit(.minutes(4)))
struct RestrictedServerTests {
    struct Trial: Sendable, CustomTestStringConvertible {
        var refused: Set<Restriction>
        var refusing: Refusing
        var testDescription: String {
            let names = self.refused.count == Restriction.allCases.count ? ["all"] : self.refused.map(\.rawValue)
            return names.joined(separator: ", ") + " \(self.refusing.rawValue)"
        }
    }

    /// Each alone, and all together.
    static let trials: [Trial] = Refusing.allCases.flatMap { refusing in
        (Restriction.allCases.map { [$0] } + [Set(Restriction.allCases)]).map {
            Trial(refused: $0, refusing: refusing)
        }
    }

    private static func configuration(_ label: String) -> RedisLeaseStoreConfiguration {
        .init(namespace: "test", label: label, commandTimeout: .seconds(10))
    }

    @Test("two processes share a flight on each", arguments: RestrictedServerTests.trials)
    func flight(_ trial: Trial) async throws {
        try await RestrictedServer.with(trial.refused, trial.refusing) { server in
            try await RedisLeaseStore.withConnection(to: server.url, configuration: Self.configuration("one")) { one in
                try await RedisLeaseStore.withConnection(to: server.url, configuration: Self.configuration("two")) {
                    try await Self.share(one, $0)
                }
            }
            // CONFIG is for doctor, and SELECT for other databases.
            let met = trial.refused.subtracting([.config, .select])
            #expect(server.struck == met)
        }
    }

    /// A process leads and draws a fence, another one follows, and a later call of it is given the same result.
    private static func share(_ one: RedisLeaseStore, _ two: RedisLeaseStore) async throws {
        let configuration = DistributedGroupConfiguration(
            lease: .init(duration: .seconds(60)),
            results: .init(reuse: .seconds(60)),
            unavailable: .fail
        )
        let here = try DistributedGroup<String, String>("pages", store: one, configuration: configuration)
        let there = try DistributedGroup<String, String>("pages", store: two, configuration: configuration)
        try await two.untilSubscribed()
        let gate = Gate()
        async let led = here.value("front") { flight in
            let fence = try await flight.fence().rawValue
            await gate.wait()
            return "value under a fence of \(fence > 0)"
        }
        await gate.untilArrived()
        async let followed = there.value("front") { _ in "another" }
        let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
        try await until("the other process waits") { try await self.waiters(one, key) == 1 }
        gate.open()
        let values = try await [led, followed]
        #expect(values == ["value under a fence of true", "value under a fence of true"])
        #expect(try await there.value("front") { _ in "another" } == values[0], "a result that can be reused")
    }

    private static func waiters(_ store: RedisLeaseStore, _ key: FlightKey) async throws -> Int {
        let answer = await withCheckedContinuation { continuation in
            store.send(.inspect(InspectRequest(key: key))) { continuation.resume(returning: $0) }
        }
        guard case .inspect(let inspection) = try answer.get() else { return 0 }
        return inspection.waiters.count
    }

    @Test(
        "doctor has a line for each check, none fails, and each restriction is named",
        arguments: RestrictedServerTests.trials
    )
    func doctor(_ trial: Trial) async throws {
        try await RestrictedServer.with(trial.refused, trial.refusing) { server in
            let report = try await Self.report(on: server.url).report
            #expect(report.status != .fail)
            let findings = Dictionary(uniqueKeysWithValues: report.findings.map { ($0.check, $0) })
            #expect(report.findings.map(\.check) == Self.checks)
            #expect(server.struck == trial.refused)

            let told = trial.refusing == .asUnknown ? findings["commands"] : findings["rights"]
            for (restriction, words) in [
                (Restriction.role, "ROLE (INFO tells it)"),
                (.clientSetName, "CLIENT SETNAME (connections have no names)"),
                (.select, "SELECT (there is database 0 only)"),
            ] {
                #expect(told?.found.contains(words) == trial.refused.contains(restriction), "\(told?.found ?? "")")
            }
            #expect(findings["role"]?.found == "primary")
            #expect(findings["clock"]?.status == .ok)

            let settings = ["inbox buffer", "persistence", "idle timeout", "keepalive"].map { findings[$0] }
            if trial.refused.contains(.config) {
                let words =
                    trial.refusing == .asUnknown ? "not told: the server has no CONFIG" : "not known: needs CONFIG GET"
                #expect(settings.allSatisfy { $0?.status == .skipped && $0?.found == words })
            } else {
                #expect(settings.allSatisfy { $0?.status == .ok })
            }

            let scripts = try #require(findings["scripts"])
            let hasFlags = !trial.refused.contains(.scriptFlags) && !ServerVersion.current.isBefore7
            #expect(scripts.status == (hasFlags ? .ok : .warn))
            #expect(scripts.found.contains("allow-oom") == trial.refused.contains(.scriptFlags), "\(scripts.found)")
            let bad = report.findings.filter { $0.status == .fail || $0.status == .warn }.map(\.check)
            #expect(Set(bad).subtracting(["scripts", "version", "latency"]) == [])
        }
    }

    /// With all the time that a busy machine may need.
    private static func report(on url: String) async throws -> (report: DoctorReport, failure: LeaseStoreError?) {
        let now = { @Sendable () -> Duration in .seconds(Date().timeIntervalSince1970) }
        let facts = try await RedisProbe.facts(url: url, configuration: self.configuration("doctor"), wallClock: now)
        let findings = DoctorRules.findings(of: facts, at: now())
        return (DoctorReport(url: url, namespace: "test", findings: findings), facts.failure)
    }

    private static let checks = [
        "connection", "version", "role", "cluster", "commands", "rights", "listing", "writes", "scripts", "inbox",
        "latency", "clock", "eviction", "memory", "persistence", "inbox buffer", "replicas", "clients", "idle timeout",
        "keepalive",
    ]

    @Test("a database that cannot be selected is told at once as what it is", arguments: Refusing.allCases)
    func database(_ refusing: Refusing) async throws {
        try await RestrictedServer.with([.select], refusing) { server in
            let began = ContinuousClock.now
            let error = await #expect(throws: LeaseStoreError.self) {
                let configuration = RedisLeaseStoreConfiguration(namespace: "test", commandTimeout: .seconds(60))
                try await RedisLeaseStore.withConnection(to: server.url + "/1", configuration: configuration) { _ in }
            }
            #expect(ContinuousClock.now - began < .seconds(30))
            let (report, failure) = try await Self.report(on: server.url + "/1")
            let status = CommandFailure(describing: try #require(failure)).status
            let told = try report.text(as: .table, for: Terminal())
            switch refusing {
            case .asUnknown:
                #expect(error?.code == .invalidRequest)
                #expect(
                    error?.message.contains("database 1 cannot be selected: leave its number out of the URL") == true
                )
                #expect(status == .usage)
                #expect(told.contains("database 1 cannot be selected"))
                #expect(told.contains("Change the URL."))
            case .asForbidden:
                #expect(error?.code == .refused)
                #expect(error?.message.contains("SELECT was refused") == true)
                #expect(status == .refused)
                #expect(told.contains("ACL SETUSER"))
            }
        }
    }

    @Test("the proxy itself refuses a script that touches a key it did not declare, and no other")
    func undeclaredKey() async throws {
        try await RestrictedServer.with([.undeclaredKeys], .asUnknown) { server in
            let client = RedisClient(
                configuration: RedisClientConfiguration(url: try RedisURL(server.url)),
                logger: Logger(label: "test")
            )
            client.start()
            try await client.connected(within: .seconds(20))
            func ask(_ command: String) async throws -> RESPValue {
                try await client.send(RedisCommand("EVAL", .string("return redis.\(command)"), "1", "mine"))
            }
            #expect(try await ask("call('SET', KEYS[1], 1)") == .simpleString("OK"))
            #expect(try await ask("call('DEL', KEYS[1])") == .integer(1))
            for command in ["call('SET', 'other', 1)", "pcall('GET', 'other')", "call('DEL', KEYS[1], 'other')"] {
                let error = await #expect(throws: RedisClientError.self) { try await ask(command) }
                #expect(error?.serverError?.message.contains("undeclared key") == true, "\(command)")
            }
            await client.shutdown()
        }
    }
}
