import HiredisClient
import PrivateRedis
import SingleflightLease
import TestSupport
import Testing

@testable import SingleflightRedis

/// How many inboxes a process has on a cluster, and how many connections for them.
@Suite("Inboxes on a cluster", .usesServer, .timeLimit(.minutes(5)))
struct ClusterInboxTests {
    @Test("of any number of keys: one inbox for each partition, one connection to each primary, and all are woken")
    func bound() async throws {
        try await PrivateCluster.with { cluster in
            try await withTwoStores(cluster) { one, two in
                let leading = try one.patientGroup()
                let keys = (0..<2_000).map { "key \($0)" }
                let partitions = try keys.map { try Self.partition(of: $0) }
                #expect(Set(partitions).count == Keyspace.partitionCount)
                for start in stride(from: 0, to: keys.count, by: 100) {
                    await withTaskGroup(of: Void.self) { tasks in
                        for key in keys[start..<start + 100] {
                            tasks.addTask { #expect((try? await leading.run(key) { _ in key }.get()) == key) }
                        }
                    }
                }
                try await until("the inboxes of all partitions are subscribed") {
                    try await Self.inboxes(of: one, cluster).count == Keyspace.partitionCount
                }

                // Followers in the partitions of the last keys have the result long before the leases of the leaders
                // end.
                let start = ContinuousClock.now
                for key in keys.suffix(20) {
                    let flight = try await HeldFlight.begin(key, two, one, lease: .seconds(90))
                    #expect(try await flight.end() == ["led \(key)", "led \(key)"])
                }
                #expect(start.duration(to: .now) < .seconds(60))

                let inboxes = try await Self.inboxes(of: one, cluster)
                #expect(inboxes.count == Keyspace.partitionCount && Set(inboxes).count == inboxes.count)
                for node in cluster.nodes.indices {
                    let clients = try await cluster.ask(node, "CLIENT", "LIST", "TYPE", "PUBSUB")
                    let own = clients.split(whereSeparator: \.isNewline).filter { $0.contains("name=sf:\(one.inbox) ") }
                    #expect(own.count == 1, "\(clients)")
                }
            }
        }
    }

    @Test("in a namespace of its own a process has inboxes of its own, which end with its store")
    func namespaces() async throws {
        try await PrivateCluster.with { cluster in
            func configuration(_ namespace: String) -> RedisLeaseStoreConfiguration {
                .init(namespace: namespace, commandTimeout: .seconds(10))
            }
            func use(_ store: RedisLeaseStore) async throws {
                let group = try store.patientGroup()
                let keys = (0..<20).map { "key \($0)" }
                for key in keys { _ = try await group.run(key) { _ in "" }.get() }
                let partitions = try Set(keys.map { try Self.partition(of: $0) })
                try await until("the inboxes are subscribed") {
                    try await Self.inboxes(of: store, cluster).count == partitions.count
                }
            }
            try await RedisLeaseStore.withConnection(to: cluster.url, configuration: configuration("kept")) { kept in
                try await use(kept)
                try await RedisLeaseStore.withConnection(to: cluster.url, configuration: configuration("left")) {
                    try await use($0)
                }
                try await until("only the other store's inboxes are left") {
                    let channels = try await Self.inboxes("*:in:*", cluster)
                    return !channels.isEmpty && channels.allSatisfy { $0.hasPrefix("sf2:{kept:") }
                }
            }
            try await until("no inbox is left") { try await Self.inboxes("*:in:*", cluster).isEmpty }
        }
    }

    private static func partition(of key: String) throws -> Int {
        Keyspace.partition(of: try FlightKey(group: "pages", bytes: Array(key.utf8)))
    }

    /// The shard channels that a store has subscribed to, at whichever nodes.
    private static func inboxes(of store: RedisLeaseStore, _ cluster: PrivateCluster) async throws -> [String] {
        try await self.inboxes("*:in:\(store.inbox)", cluster)
    }

    private static func inboxes(_ pattern: String, _ cluster: PrivateCluster) async throws -> [String] {
        var channels: [String] = []
        for node in cluster.nodes.indices {
            let reply = try await cluster.ask(node, "PUBSUB", "SHARDCHANNELS", pattern)
            channels += reply.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("sf2:") }.map(String.init)
        }
        return channels
    }
}
