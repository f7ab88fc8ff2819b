import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// The built command on a cluster.
@Suite("The command, on a cluster", .usesServer, .serialized, .timeLimit(.minutes(4)))
struct ClusterToolTests {
    @Test("looks at all primaries, runs and waits where keys lie, and watches all of them")
    func commands() async throws {
        try await PrivateCluster.with { cluster in
            let url = cluster.url
            let configuration = RedisLeaseStoreConfiguration(
                label: "worker-1",
                commandTimeout: .seconds(3),
                publishesEvents: true
            )
            try await RedisLeaseStore.withConnection(to: cluster.clusterURL, configuration: configuration) { store in
                let pty = try Pty(["watch", "--url", url])
                try await pty.until("watching namespace default")
                var flights: [HeldFlight] = []
                // They spread over the three nodes.
                let keys = (0..<12).map { "page-\($0)" }
                for key in keys { flights.append(try await HeldFlight(store, key: key)) }
                try await pty.until("acquired")

                let leases = try await Tool.run("leases", "--url", url, "--output", "ndjson")
                #expect(leases.status == 0, "\(leases.messages)")
                for key in keys { #expect(leases.output.contains("\"\(key)\"")) }
                let namespaces = try await Tool.run("namespaces", "--url", url)
                #expect(namespaces.status == 0 && namespaces.output.contains("12"), "\(namespaces.messages)")
                for key in keys.prefix(4) {
                    let shown = try await Tool.run("show", key, "--url", url)
                    #expect(shown.status == 0 && shown.output.contains("worker-1"), "\(shown.messages)")
                    let run = try await Tool.run("exec", "--url", url, "job-\(key)", "--", "echo", "done")
                    #expect(run.status == 0 && run.output == "done\n", "\(run.messages)")
                    let last = try await Tool.run("last", "--url", url, "job-\(key)")
                    #expect(last.status == 0, "\(last.messages)")
                }
                let revoked = try await Tool.run("revoke", "--url", url, keys[11], "--yes")
                #expect(revoked.status == 0, "\(revoked.messages)")
                let waiting = Task { try await Tool.run("wait", "--url", url, keys[10]) }
                try await until("somebody waits") {
                    try await store.leases { $1 == keys[10] }.first?.waiterCount == 1
                }
                for flight in flights { await flight.complete() }
                let waited = try await waiting.value
                #expect(waited.status == 0, "\(waited.messages)")
                try await pty.until("completed")
                pty.type("\u{3}")
                #expect(await pty.exit() == 0)
            }
        }
    }

    @Test("doctor looks at every node, and says what is not as it should be")
    func doctor() async throws {
        try await PrivateCluster.with { cluster in
            let well = try await Tool.run("doctor", "--url", cluster.url)
            #expect(well.output.contains("3 primaries, all of them answer"), "\(well.output) \(well.messages)")
            #expect(well.output.contains("3 of 3 primaries have no replica"))
            #expect(well.output.contains("a message came after"), "\(well.output)")
            await cluster.nodes[1].kill()
            let ill = try await Tool.run("doctor", "--url", cluster.clusterURL)
            #expect(ill.status == 1, "\(ill.output) \(ill.messages)")
            #expect(ill.output.contains("1 of 3 primaries do not answer"))
        }
    }

    @Test("doctor counts the replicas of a cluster that has just started")
    func newReplicas() async throws {
        try await PrivateCluster.with(.init(replicas: 1)) { cluster in
            let run = try await Tool.run("doctor", "--url", cluster.url)
            #expect(run.output.contains("every primary has a replica"), "\(run.output) \(run.messages)")
            #expect(run.output.contains("1 connected") && !run.output.contains("none required"), "\(run.output)")
        }
    }

    @Test("bench counts what all primaries do, whether it is told of one of them or of the cluster")
    func bench() async throws {
        try await PrivateCluster.with { cluster in
            for url in [cluster.url, cluster.clusterURL] {
                let before = try await Self.calls(cluster)
                let run = try await Tool.run(
                    ["bench", "--redis", url, "--processes", "2", "--callers", "8", "--keys", "500", "--zipf", "0"]
                        + ["--duration", "1", "--output", "json"]
                )
                #expect(run.status == 0, "\(run.messages)")
                let calls = try await zip(before, Self.calls(cluster)).map { $1 - $0 }
                let object = try JSONSerialization.jsonObject(with: Data(run.output.utf8))
                let report = try #require(object as? [String: Any])
                #expect(report["primaries"] as? Int == 3 && report["failures"] as? Int == 0, "\(run.output)")
                let flights = try #require(report["flights"] as? Double)
                let counted = flights * (try #require(report["redisCallsPerFlight"] as? Double))
                // All that was done, but for what comes before and after: connections, questions about the cluster.
                let total = Double(calls.reduce(0, +))
                #expect(flights > 100 && total * 0.7 < counted && counted <= total, "\(counted) of \(total)")
                // The keys are spread over all of them.
                for share in calls { #expect(Double(share) > total / 10, "\(calls)") }
            }
        }
    }

    /// How many commands each node has carried out, those of scripts included.
    private static func calls(_ cluster: PrivateCluster) async throws -> [Int] {
        var calls: [Int] = []
        for index in cluster.nodes.indices {
            let lines = try await cluster.ask(index, "INFO", "commandstats").split(whereSeparator: \.isNewline)
            let counts = lines.compactMap { line in
                line.firstRange(of: ":calls=").flatMap { Int(line[$0.upperBound...].prefix { $0 != "," }) }
            }
            calls.append(counts.reduce(0, +))
        }
        return calls
    }
}
