import Logging
import NIOCore
import Synchronization

/// The clients of a cluster's nodes: one for each node and purpose, made when it is first needed.
///
/// A node's health is its connections' and stands apart from the table of slots: a node that failed keeps its slots,
/// and its client goes on trying, until the cluster has given them to another.
final class ClusterNodes: Sendable {
    struct Key: Hashable {
        var address: NodeAddress
        var purpose: ConnectionEvent.Purpose
    }

    private struct State {
        var clients: [Key: RedisClient] = [:]
        /// Nodes whose connection for commands is up.
        var connected: Set<NodeAddress> = []
        /// Nodes that served nothing when that was last looked at.
        var slotless: Set<NodeAddress> = []
        /// On their way out.
        var retired: [RedisClient] = []
        var isShutDown = false
    }

    private let configuration: RedisClientConfiguration
    private let payloads: RedisClientConfiguration
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let onChange: @Sendable (NodeAddress, ConnectionEvent) -> Void
    private let state = Mutex(State())

    /// - Parameter onChange: hears what becomes of the connections, on the event loop.
    init(
        configuration: RedisClientConfiguration,
        payloads: RedisClientConfiguration,
        eventLoop: any EventLoop,
        logger: Logger,
        onChange: @escaping @Sendable (NodeAddress, ConnectionEvent) -> Void
    ) {
        self.configuration = configuration
        self.payloads = payloads
        self.eventLoop = eventLoop
        self.logger = logger
        self.onChange = onChange
    }

    /// The client for a node; `nil` once shut down.
    func client(for address: NodeAddress, purpose: ConnectionEvent.Purpose) -> RedisClient? {
        let key = Key(address: address, purpose: purpose)
        let (client, isNew) = state.withLock { state -> (RedisClient?, Bool) in
            if let client = state.clients[key] { return (client, false) }
            guard !state.isShutDown else { return (nil, false) }
            let client = make(key)
            state.clients[key] = client
            return (client, true)
        }
        if isNew { client?.start() }
        return client
    }

    private func make(_ key: Key) -> RedisClient {
        var configuration = key.purpose == .payloads ? payloads : self.configuration
        configuration.point(at: key.address)
        let listener = configuration.onConnectionEvent
        configuration.onConnectionEvent = { [weak self] event in
            listener?(event)
            self?.changed(key, event)
        }
        return RedisClient(configuration: configuration, group: eventLoop, logger: logger)
    }

    private func changed(_ key: Key, _ event: ConnectionEvent) {
        if key.purpose == .commands {
            state.withLock { state in
                switch event.change {
                case .connected: state.connected.insert(key.address)
                case .lost, .notMade: state.connected.remove(key.address)
                }
            }
        }
        onChange(key.address, event)
    }

    /// The nodes whose connection for commands is up.
    var connected: Set<NodeAddress> { state.withLock { $0.connected } }

    /// All nodes that there is a client for.
    var addresses: Set<NodeAddress> { state.withLock { Set($0.clients.keys.map(\.address)) } }

    /// The client for commands of a node that is connected; `nil` if it is not.
    func connectedClient(for address: NodeAddress) -> RedisClient? {
        state.withLock { state in
            guard state.connected.contains(address) else { return nil }
            return state.clients[Key(address: address, purpose: .commands)]
        }
    }

    /// Lets go of nodes that serve nothing any more: of those that cannot be reached at once, so that what waits for
    /// them goes elsewhere; of the others the second time, since a node may be about to get its first slot.
    func keep(_ primaries: [NodeAddress]) {
        let retired = state.withLock { state -> [RedisClient] in
            var retired: [RedisClient] = []
            var slotless: Set<NodeAddress> = []
            for (key, client) in state.clients where !primaries.contains(key.address) {
                if state.connected.contains(key.address), !state.slotless.contains(key.address) {
                    slotless.insert(key.address)
                } else {
                    state.clients[key] = nil
                    retired.append(client)
                }
            }
            state.slotless = slotless
            for client in retired { state.retired.append(client) }
            state.connected.formIntersection(state.clients.keys.map(\.address))
            return retired
        }
        for client in retired {
            client.end(RedisClientError(.notSent, "the node serves nothing any more"))
            // What is in flight may still be answered.
            eventLoop.scheduleTask(in: TimeAmount(configuration.commandTimeout)) {
                Task { await self.dispose(of: client) }
            }
        }
    }

    private func dispose(of client: RedisClient) async {
        await client.shutdown()
        state.withLock { $0.retired.removeAll { $0 === client } }
    }

    func shutdown() async {
        let clients = state.withLock { state in
            state.isShutDown = true
            defer { state.clients = [:] }
            return Array(state.clients.values) + state.retired
        }
        await withTaskGroup(of: Void.self) { group in
            for client in clients { group.addTask { await client.shutdown() } }
        }
    }

    /// Answers everything that waits, for `reason`, and takes nothing more.
    func end(_ reason: RedisClientError) {
        let clients = state.withLock { state in
            state.isShutDown = true
            return Array(state.clients.values)
        }
        for client in clients { client.end(reason) }
    }
}

/// Finds some primary of a cluster, for what any of them can do.
final class AnyPrimaryFinder: RedisFinder {
    private let target: RedisTarget
    private let primaries: @Sendable () -> [NodeAddress]

    init(_ target: RedisTarget, primaries: @escaping @Sendable () -> [NodeAddress]) {
        self.target = target
        self.primaries = primaries
    }

    func find(on eventLoop: any EventLoop) -> EventLoopFuture<RedisPlace> {
        guard let node = primaries().randomElement() else {
            return eventLoop.makeFailedFuture(
                RedisClientError(.connectionFailed, "it is not known which nodes the cluster has")
            )
        }
        return eventLoop.makeSucceededFuture(target.place(at: .tcp(host: node.host, port: node.port)))
    }
}

extension RedisClientConfiguration {
    /// Makes it that of another node, which has the same users and the same certificates' authority.
    mutating func point(at address: NodeAddress) {
        target.deployment = .server(.tcp(host: address.host, port: address.port))
        finder = nil
    }
}
