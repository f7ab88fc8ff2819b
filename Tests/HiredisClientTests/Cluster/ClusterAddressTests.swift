import Foundation
import Logging
import PrivateRedis
import TestSupport
import Testing

@testable import HiredisClient

/// Addresses as real nodes tell them: with two ports, of which one is for TLS, and of IPv6.
@Suite("A client of nodes that speak TLS or IPv6", .usesServer, .timeLimit(.minutes(5)))
struct ClusterAddressTests {
    /// How a client comes to know a cluster.
    enum Way: String, CaseIterable {
        /// From the address of a node.
        case oneNode
        /// From addresses that are said to be a cluster's.
        case cluster
        /// Likewise, but by CLUSTER SHARDS, since it may not send CLUSTER SLOTS.
        case shards
    }

    private static let userWithoutSlots = "shards on >pass ~* &* +@all -cluster|slots"

    @Test("all that goes to nodes that speak TLS is encrypted, on the ports for it", arguments: Way.allCases)
    func encrypted(_ way: Way) async throws {
        try await withTLSCluster { cluster in
            let url =
                switch way {
                case .oneNode: cluster.tlsURL(of: 0)
                case .cluster: cluster.tlsClusterURL
                case .shards: cluster.tlsClusterURL.replacing("://", with: "://shards:pass@")
                }
            try await withClient(url) { client in
                try await Self.exercise(client, cluster)
                let primaries = client.cluster.primaries
                #expect(Set(primaries.map(\.port)) == Set(cluster.tlsPorts.map(Int.init)), "\(primaries)")
            }
            var asked = ""
            for node in cluster.nodes.indices { asked += try await cluster.ask(node, "INFO", "commandstats") }
            #expect(asked.contains("cluster|shards") == (way == .shards))
        }
    }

    @Test("a client without TLS is told the other ports of the same nodes", arguments: [.oneNode, Way.shards])
    func plain(_ way: Way) async throws {
        try await withTLSCluster { cluster in
            let url =
                way == .shards ? cluster.clusterURL.replacing("://", with: "://shards:pass@") : cluster.url(of: 0)
            try await withClient(url) { client in
                try await Self.exercise(client, cluster)
                let primaries = client.cluster.primaries
                #expect(Set(primaries.map(\.port)) == Set(cluster.nodes.compactMap(\.port).map(Int.init)))
            }
        }
    }

    @Test("nodes that are at ::1, as they say", .enabled(if: ClusterAddressTests.hasIPv6), arguments: Way.allCases)
    func addressesOfIPv6(_ way: Way) async throws {
        try await PrivateCluster.with(.init(announcesIPv6: true, users: [Self.userWithoutSlots])) { cluster in
            let url =
                switch way {
                case .oneNode: cluster.url(of: 0)
                case .cluster: cluster.clusterURL
                case .shards: cluster.clusterURL.replacing("://", with: "://shards:pass@")
                }
            #expect(url.contains("[::1]:"))
            try await withClient(url) { client in
                try await Self.exercise(client, cluster)
                let primaries = client.cluster.primaries
                #expect(primaries.count == 3 && primaries.allSatisfy { $0.host == "::1" }, "\(primaries)")
            }
        }
    }

    @Test("nodes that speak TLS at ::1", .enabled(if: ClusterAddressTests.hasIPv6))
    func both() async throws {
        try await withTLSCluster(announcesIPv6: true) { cluster in
            try await withClient(cluster.tlsClusterURL) { client in
                try await Self.exercise(client, cluster)
                let primaries = client.cluster.primaries
                #expect(Set(primaries.map(\.port)) == Set(cluster.tlsPorts.map(Int.init)))
                #expect(primaries.allSatisfy { $0.host == "::1" }, "\(primaries)")
            }
        }
    }

    // MARK: What is tried

    /// Commands to each node, redirections by ASK and by MOVED, and a shard channel whose slot moves.
    private static func exercise(_ client: RedisDeploymentClient, _ cluster: PrivateCluster) async throws {
        #expect(client.kind == .cluster)
        for node in cluster.nodes.indices {
            let key = try await Self.key(on: node, cluster)
            try await Self.expect(client, key, tells: "\(node)")
        }

        let channel = try await Self.key(on: 0, cluster)
        let slot = HashSlot(of: channel)
        let (messages, told) = AsyncStream.makeStream(of: [UInt8].self)
        let (resumptions, resumed) = AsyncStream.makeStream(of: Void.self)
        let subscriber = ShardSubscriber(cluster: client.cluster) { event in
            switch event {
            case .message(_, let payload): told.yield(payload)
            case .resumed: resumed.yield()
            case .lost, .unsupported, .refused: break
            }
        }
        subscriber.want(channel, slot: slot, tag: 1)
        var acknowledgements = resumptions.makeAsyncIterator()
        var texts = messages.makeAsyncIterator()
        _ = await acknowledgements.next()
        try await Self.publish("before", to: channel, client)
        #expect(await texts.next() == Array("before".utf8))

        try await cluster.beginMove(Int(slot.number), from: 0, to: 1)
        // No node has it: the first says where to ask.
        try await Self.expect(client, "{\(channel)}new", tells: "asked")
        try await cluster.moveKeys(Int(slot.number), from: 0, to: 1)
        try await cluster.endMove(Int(slot.number), from: 0, to: 1)
        try await Self.expect(client, channel, tells: "moved")
        _ = await acknowledgements.next()
        try await Self.publish("after", to: channel, client)
        #expect(await texts.next() == Array("after".utf8))
        await subscriber.shutdown()
    }

    private static func expect(_ client: RedisDeploymentClient, _ key: String, tells text: String) async throws {
        let order = RedisOrder.none(in: HashSlot(of: key))
        _ = try await client.send(RedisCommand("SET", .string(key), .string(text)), order: order)
        let reply = try await client.send(RedisCommand("GET", .string(key)), order: order)
        #expect(reply.string == text)
    }

    private static func publish(_ text: String, to channel: String, _ client: RedisDeploymentClient) async throws {
        let order = RedisOrder.none(in: HashSlot(of: channel))
        let reply = try await client.send(RedisCommand("SPUBLISH", .string(channel), .string(text)), order: order)
        #expect(reply.integer == 1)
    }

    /// A key that lies on this node.
    private static func key(on node: Int, _ cluster: PrivateCluster) async throws -> String {
        for number in 0..<1000 {
            let slot = Int(HashSlot(of: "key \(number)").number)
            if try await cluster.owner(of: slot) == node { return "key \(number)" }
        }
        return try #require(nil as String?, "none of a thousand keys lies on node \(node)")
    }

    // MARK: Stage

    fileprivate static var hasIPv6: Bool {
        let addresses = try? String(contentsOfFile: "/proc/net/if_inet6", encoding: .utf8)
        return addresses?.contains("00000000000000000000000000000001") ?? false
    }

    private func withTLSCluster(
        announcesIPv6: Bool = false,
        _ body: (PrivateCluster) async throws -> Void
    ) async throws {
        let certificates = try Certificates()
        let tls = PrivateCluster.TLS(
            certificate: certificates.certificate("localhost"),
            key: certificates.key("localhost"),
            authority: certificates.certificate("ca")
        )
        try await PrivateCluster.with(
            .init(tls: tls, announcesIPv6: announcesIPv6, users: [Self.userWithoutSlots]),
            body
        )
        withExtendedLifetime(certificates) {}
    }

    private func withClient(_ url: String, _ body: (RedisDeploymentClient) async throws -> Void) async throws {
        var configuration = RedisClientConfiguration(try RedisTarget(url))
        configuration.findsClusters = true
        configuration.commandTimeout = .seconds(20)
        configuration.connectTimeout = .seconds(20)
        configuration.handshakeTimeout = .seconds(20)
        let client = RedisDeploymentClient(
            configuration: configuration,
            payloads: configuration,
            logger: Logger(label: "test")
        )
        client.start()
        do {
            try await client.connected(within: .seconds(20))
            try await body(client)
        } catch {
            await client.shutdown()
            throw error
        }
        await client.shutdown()
    }
}
