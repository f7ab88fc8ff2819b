import HiredisClient
import SingleflightRedis
import Testing

@testable import SingleflightCLI

/// What `doctor` thinks of what the nodes of a cluster say.
@Suite("Doctor's rules about clusters")
struct ClusterRulesTests {
    private static func findings(
        settings: [String: String] = [:],
        _ change: (inout ClusterFacts) -> Void = { _ in }
    ) -> [String: Finding] {
        var cluster = ClusterFacts()
        cluster.primaries = (0..<3).map { index in
            ClusterFacts.Primary(
                address: NodeAddress(host: "n\(index)", port: 6379),
                slots: 5461,
                replicas: 1,
                state: "ok",
                epoch: 6
            )
        }
        change(&cluster)
        var facts = RedisFacts()
        facts.role = "master"
        facts.info = ["redis_version": "7.0.15", "cluster_enabled": "1", "connected_slaves": "1"]
        facts.settings = settings
        facts.cluster = cluster
        let findings = DoctorRules.findings(of: facts, at: .zero)
        return Dictionary(findings.map { ($0.check, $0) }) { first, _ in first }
    }

    @Test("all well")
    func well() {
        let findings = Self.findings()
        for check in ["cluster", "slots", "epoch", "spares"] { #expect(findings[check]?.status == .ok, "\(check)") }
    }

    @Test("a primary that does not answer is named, with the reason and the address that it announces")
    func unreachable() {
        let finding = Self.findings { $0.primaries[1].failure = "no answer in time" }["cluster"]
        #expect(finding?.status == .fail)
        #expect(finding?.found.contains("n1:6379: no answer in time") == true)
        #expect(finding?.advice?.contains("cluster-announce-ip") == true)
    }

    @Test("nodes that others take for failed are a warning")
    func failing() {
        let finding = Self.findings { $0.failing = ["n9:6379"] }["cluster"]
        #expect(finding?.status == .warn)
        #expect(finding?.found.contains("n9:6379") == true)
    }

    @Test("slots that nobody serves, and nodes for which the cluster is down")
    func slots() {
        #expect(Self.findings { $0.uncoveredSlots = 100 }["slots"]?.status == .fail)
        #expect(Self.findings { $0.primaries[0].state = "fail" }["slots"]?.found.contains("n0:6379") == true)
        #expect(Self.findings { $0.primaries = [] }["cluster"]?.status == .fail)
    }

    @Test("a node of an earlier epoch is named")
    func epoch() {
        let finding = Self.findings { $0.primaries[2].epoch = 4 }["epoch"]
        #expect(finding?.status == .warn)
        #expect(finding?.found == "6, but n2:6379 is at 4")
    }

    @Test("primaries without a replica are named")
    func spares() {
        let finding = Self.findings { $0.primaries[0].replicas = 0 }["spares"]
        #expect(finding?.status == .warn)
        #expect(finding?.found.contains("n0:6379") == true)
    }

    @Test("no replica need be required: a primary that is cut off stops by itself")
    func replicas() {
        let settings = ["min-replicas-to-write": "0", "min-replicas-max-lag": "10"]
        let finding = Self.findings(settings: settings)["replicas"]
        #expect(finding?.status == .ok && finding?.found == "1 connected", "\(String(describing: finding))")
    }
}
