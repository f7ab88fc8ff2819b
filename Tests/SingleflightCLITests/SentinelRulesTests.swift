import HiredisClient
import SingleflightRedis
import Testing

@testable import SingleflightCLI

/// What `doctor` thinks of what sentinels say.
@Suite("Doctor's rules about sentinels")
struct SentinelRulesTests {
    private static func reports(_ change: (inout [SentinelReport]) -> Void = { _ in }) -> [SentinelReport] {
        var reports = (0..<3).map { index in
            var report = SentinelReport(sentinel: .tcp(host: "s\(index)", port: 26_379))
            report.primary = .tcp(host: "a", port: 1)
            (report.epoch, report.quorum, report.replicas, report.others) = (1, 2, 2, 2)
            report.flags = ["master"]
            return report
        }
        change(&reports)
        return reports
    }

    private static func findings(_ reports: [SentinelReport]) -> [String: Finding] {
        var facts = RedisFacts()
        facts.role = "master"
        facts.info = ["redis_version": "7.0.15"]
        facts.sentinels = reports
        let findings = DoctorRules.findings(of: facts, at: .zero)
        return Dictionary(findings.map { ($0.check, $0) }) { first, _ in first }
    }

    @Test("all well")
    func well() {
        let findings = Self.findings(Self.reports())
        #expect(findings["sentinels"]?.status == .ok)
        #expect(findings["primary"]?.found == "a:1")
        #expect(findings["quorum"]?.found == "2 of 3 sentinels, 2 replicas")
    }

    @Test("sentinels that disagree are named, and the one with the highest epoch is believed")
    func disagreement() {
        let findings = Self.findings(
            Self.reports { reports in
                reports[1].primary = .tcp(host: "b", port: 2)
                reports[1].epoch = 2
                reports[2].primary = nil
            }
        )
        #expect(findings["primary"]?.status == .warn)
        #expect(
            findings["primary"]?.found == "b:2, but s0:26379 says a:1, s2:26379 knows none of this name"
        )
    }

    @Test("silence, an unknown name, no quorum and no replica are failures")
    func failures() {
        let silent = Self.findings(
            Self.reports { reports in
                for index in reports.indices {
                    reports[index] = SentinelReport(sentinel: reports[index].sentinel)
                    reports[index].failure = RedisClientError(.connectionFailed, "refused")
                }
            }
        )
        #expect(silent["sentinels"]?.status == .fail && silent["primary"]?.status == .skipped)
        let unknown = Self.findings(Self.reports { reports in for index in 0..<3 { reports[index].primary = nil } })
        #expect(unknown["primary"]?.status == .fail)
        let alone = Self.findings(Self.reports { reports in reports[0].noQuorum = "NOQUORUM 1 usable Sentinels" })
        #expect(alone["quorum"]?.status == .fail)
        let bare = Self.findings(Self.reports { reports in reports[0].replicas = 0 })
        #expect(bare["quorum"]?.status == .fail)
    }

    @Test("two sentinels, one that is silent, and a primary that is held for down are warnings")
    func warnings() {
        #expect(Self.findings(Self.reports { $0.removeLast() })["sentinels"]?.status == .warn)
        let silent = Self.findings(
            Self.reports { $0[0].failure = RedisClientError(.connectionFailed, "s0: refused") }
        )
        #expect(silent["sentinels"]?.status == .warn)
        #expect(Self.findings(Self.reports { $0[0].flags = ["master", "s_down"] })["primary"]?.status == .warn)
    }
}
