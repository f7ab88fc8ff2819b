import Foundation
import HiredisClient
import Logging
import Synchronization

/// Servers that answer like nodes of a cluster, and otherwise as a test tells them to.
final class FakeCluster: Sendable {
    /// A command that came to a node.
    struct Asked: Sendable {
        var node: Int
        var connection: Int
        var command: [String]
    }

    /// `nil` leaves it to the nodes.
    typealias Respond = @Sendable (Asked, FakeCluster) -> FakeServer.Reaction?

    private let servers = Mutex<[FakeServer]>([])
    /// The node that serves all slots, as each node tells it.
    let owner = Mutex(0)
    /// The host that nodes tell.
    let host: String

    private init(host: String) {
        self.host = host
    }

    static func with(
        nodes: Int = 2,
        host: String = "127.0.0.1",
        seeds: [Int] = [0],
        _ respond: @escaping Respond = { _, _ in nil },
        configure: (inout RedisClientConfiguration) -> Void = { _ in },
        _ body: (FakeCluster, RedisClusterClient) async throws -> Void
    ) async throws {
        let cluster = FakeCluster(host: host)
        for node in 0..<nodes {
            let server = try await FakeServer { connection, command in
                let asked = Asked(node: node, connection: connection, command: command)
                return respond(asked, cluster) ?? cluster.courtesy(command)
            }
            cluster.servers.withLock { $0.append(server) }
        }
        var configuration = cluster.server(0).configuration
        configure(&configuration)
        let client = RedisClusterClient(
            seeds: seeds.map { NodeAddress(host: "127.0.0.1", port: cluster.port($0)) },
            configuration: configuration,
            payloads: configuration,
            logger: Logger(label: "test")
        )
        client.start()
        do {
            try await body(cluster, client)
        } catch {
            await client.shutdown()
            throw error
        }
        await client.shutdown()
        for server in cluster.servers.withLock({ $0 }) { try? await server.close() }
    }

    func server(_ node: Int) -> FakeServer { servers.withLock { $0[node] } }

    func port(_ node: Int) -> Int { server(node).port }

    /// All commands of this name that came to a node.
    func commands(_ name: String, at node: Int) -> [[String]] {
        server(node).commands.filter { $0.first == name }
    }

    private func courtesy(_ command: [String]) -> FakeServer.Reaction? {
        switch command.first {
        case "CLUSTER" where command.count > 1 && command[1] == "SLOTS":
            let port = port(owner.withLock { $0 })
            let node = "*3\r\n$\(host.utf8.count)\r\n\(host)\r\n:\(port)\r\n$2\r\nid\r\n"
            return .reply("*1\r\n*3\r\n:0\r\n:16383\r\n\(node)")
        case "CLUSTER":
            let text = "cluster_state:ok\r\ncluster_current_epoch:1\r\n"
            return .reply("$\(text.utf8.count)\r\n\(text)\r\n")
        case "SSUBSCRIBE" where command.count > 1:
            return .reply(Self.push("ssubscribe", command[1]) + ":1\r\n")
        default:
            return nil
        }
    }

    /// A push about a channel, without its last part.
    static func push(_ kind: String, _ channel: String) -> String {
        "*3\r\n$\(kind.utf8.count)\r\n\(kind)\r\n$\(channel.utf8.count)\r\n\(channel)\r\n"
    }
}

extension FakeServer {
    var port: Int {
        guard case .server(.tcp(_, let port)) = configuration.target.deployment else { return 0 }
        return port
    }
}
