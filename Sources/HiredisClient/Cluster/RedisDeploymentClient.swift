package import Logging
package import NIOCore
import NIOPosix
import Synchronization

/// A client of what stands behind an address: one server, or a cluster, which it finds out when it first connects.
///
/// Until it knows, commands wait in the queue of a single server's client. If the server turns out to be a node of a
/// cluster, none of them was sent: plain commands go to the cluster, and scripts, whose arguments may depend on it,
/// fail with the code `cluster`, to be made anew.
///
/// Must be shut down; until then the client keeps itself alive.
package final class RedisDeploymentClient: RedisCommanding {
    package enum Kind: UInt8, AtomicRepresentable, Sendable {
        case undecided, server, cluster
    }

    package let configuration: RedisClientConfiguration
    package let eventLoop: any EventLoop
    package let eventLoopEnd: EventLoopEnd
    /// Used where ``kind`` is `cluster`.
    package let cluster: RedisClusterClient

    private let server: RedisClient
    private let payloads: RedisClient
    private let currentKind: Atomic<Kind>
    private let onCluster = Mutex<[@Sendable (RedisClusterClient) -> Void]>([])
    private let events: Events

    /// What the server's client calls, which is made before this one is.
    private final class Events: Sendable {
        private let handler = Mutex<(@Sendable (ConnectionEvent) -> Void)?>(nil)

        func set(_ handler: @escaping @Sendable (ConnectionEvent) -> Void) {
            self.handler.withLock { $0 = handler }
        }

        func tell(_ event: ConnectionEvent) {
            handler.withLock { $0 }?(event)
        }
    }

    /// - Parameters:
    ///   - configuration: of the connections for commands. A server whose kind is to be found out is one with
    ///     `findsClusters`.
    ///   - payloads: of the connections for long results.
    package init(
        configuration: RedisClientConfiguration,
        payloads: RedisClientConfiguration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        var single = configuration
        let seeds = configuration.target.seeds
        let events = Events()
        let listener = configuration.onConnectionEvent
        single.findsClusters = configuration.findsClusters && seeds.isEmpty
        single.onConnectionEvent = { event in
            events.tell(event)
            if case .notMade(.cluster) = event.change { return }
            listener?(event)
        }
        let server = RedisClient(configuration: single, group: group, logger: logger)
        let places: [NodeAddress]
        if case .server(.tcp(let host, let port)) = configuration.target.deployment {
            places = [NodeAddress(host: host, port: port)]
        } else {
            places = seeds
        }
        self.configuration = configuration
        self.events = events
        self.server = server
        var payloads = payloads
        payloads.finder = server.configuration.finder
        self.payloads = RedisClient(configuration: payloads, group: server.eventLoop, logger: logger)
        eventLoop = server.eventLoop
        eventLoopEnd = server.eventLoopEnd
        cluster = RedisClusterClient(
            seeds: places,
            configuration: configuration,
            payloads: payloads,
            group: server.eventLoop,
            logger: logger
        )
        let kind: Kind = seeds.isEmpty ? (single.findsClusters ? .undecided : .server) : .cluster
        currentKind = Atomic(kind)
        events.set { [weak self] event in self?.changed(event) }
    }

    /// What there is behind the address.
    package var kind: Kind { currentKind.load(ordering: .acquiring) }

    /// Calls `handler` when the server turns out to be a node of a cluster; at once if that is known.
    package func whenCluster(_ handler: @escaping @Sendable (RedisClusterClient) -> Void) {
        onCluster.withLock { $0.append(handler) }
        if kind == .cluster { tellOfCluster() }
    }

    private func tellOfCluster() {
        let handlers = onCluster.withLock { handlers in
            defer { handlers = [] }
            return handlers
        }
        for handler in handlers { handler(cluster) }
    }

    /// On the event loop.
    private func changed(_ event: ConnectionEvent) {
        // A subscription's connection does not tell.
        guard kind == .undecided, event.purpose == .commands else { return }
        switch event.change {
        case .connected:
            currentKind.store(.server, ordering: .releasing)
            onCluster.withLock { $0 = [] }
        case .notMade(.cluster):
            currentKind.store(.cluster, ordering: .releasing)
            cluster.start()
            tellOfCluster()
            let reason = RedisClientError(.cluster, "the server is a node of a cluster")
            server.end(reason)
            payloads.end(reason)
            Task { await self.server.shutdown() }
        case .lost, .notMade:
            break
        }
    }

    // MARK: Lifecycle

    package func start() {
        if kind == .cluster { cluster.start() } else { server.start() }
    }

    package func shutdown() async {
        await cluster.shutdown()
        await payloads.shutdown()
        await server.shutdown()
    }

    package func connected(within limit: Duration) async throws {
        if kind != .cluster {
            do {
                return try await server.connected(within: limit)
            } catch {
                guard kind == .cluster else { throw error }
            }
        }
        try await cluster.connected(within: limit)
    }

    // MARK: Commands

    package func send(
        _ command: RedisCommand,
        timeout: Duration? = nil,
        order: RedisOrder = .none,
        completion: @escaping RedisClient.Completion
    ) {
        switch kind {
        case .server:
            server.send(command, timeout: timeout, order: order, completion: completion)
        case .cluster:
            cluster.send(command, timeout: timeout, order: order, completion: completion)
        case .undecided:
            server.send(command, timeout: timeout, order: order) { result in
                guard case .failure(let error) = result, error.code == .cluster else { return completion(result) }
                self.cluster.send(command, timeout: timeout, order: order, completion: completion)
            }
        }
    }

    package func evaluate(
        _ script: RedisScript,
        keys: [RedisArgument],
        arguments: [RedisArgument] = [],
        timeout: Duration? = nil,
        order: RedisOrder = .none,
        completion: @escaping RedisClient.Completion
    ) {
        switch kind {
        case .server, .undecided:
            server.evaluate(
                script,
                keys: keys,
                arguments: arguments,
                timeout: timeout,
                order: order,
                completion: completion
            )
        case .cluster:
            cluster.evaluate(
                script,
                keys: keys,
                arguments: arguments,
                timeout: timeout,
                order: order,
                completion: completion
            )
        }
    }

    /// Evaluates a script on a connection for long results, which is made for the first of them.
    package func evaluateLong(
        _ script: RedisScript,
        keys: [RedisArgument],
        arguments: [RedisArgument],
        timeout: Duration,
        order: RedisOrder,
        completion: @escaping RedisClient.Completion
    ) {
        guard kind != .cluster else {
            return cluster.evaluateLong(
                script,
                keys: keys,
                arguments: arguments,
                timeout: timeout,
                order: .none(in: order),
                completion: completion
            )
        }
        payloads.start()
        payloads.evaluate(script, keys: keys, arguments: arguments, timeout: timeout, completion: completion)
    }

    /// A subscription to `channel` on a connection of its own, to the server. Not yet started.
    package func makeSubscription(
        to channel: String,
        handler: @escaping ChannelSubscription.Handler
    ) -> ChannelSubscription {
        server.makeSubscription(to: channel, handler: handler)
    }

    /// As ``RedisClient/connectionNumber``, of the connection that takes commands of this order.
    package func connectionNumber(for order: RedisOrder) -> UInt64 {
        guard kind == .cluster else { return server.connectionNumber }
        return cluster.node(for: order).flatMap { cluster.client(of: $0) }?.connectionNumber ?? 0
    }

    /// The clients to ask where all keys are to be looked at: the server's, or each primary's.
    package var scannable: [any RedisCommanding] {
        guard kind == .cluster else { return [server] }
        return cluster.primaries.compactMap { cluster.client(of: $0) }
    }
}

extension RedisOrder {
    /// The place of an order, without it.
    fileprivate static func none(in order: RedisOrder) -> RedisOrder {
        order.slot.map { .none(in: $0) } ?? .none
    }
}

extension RedisClusterClient {
    /// A client of the cluster that a target's servers are, or may be, nodes of; `nil` where they cannot.
    package convenience init?(
        ifNodeOf target: RedisTarget,
        _ configuration: RedisClientConfiguration,
        on eventLoop: any EventLoop,
        logger: Logger
    ) {
        var seeds = target.seeds
        if case .server(.tcp(let host, let port)) = target.deployment { seeds = [NodeAddress(host: host, port: port)] }
        guard !seeds.isEmpty else { return nil }
        var configuration = configuration
        configuration.requiresPrimary = true
        self.init(seeds: seeds, configuration: configuration, payloads: configuration, group: eventLoop, logger: logger)
    }
}

/// Finds the seeds of a cluster one after the other.
final class SeedFinder: RedisFinder {
    private let places: [RedisPlace]
    private let next = Atomic(0)

    init(_ places: [RedisPlace]) {
        self.places = places
    }

    func find(on eventLoop: any EventLoop) -> EventLoopFuture<RedisPlace> {
        guard !places.isEmpty else {
            return eventLoop.makeFailedFuture(RedisClientError(.misconfigured, "the cluster has no address"))
        }
        let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
        return eventLoop.makeSucceededFuture(places[index % places.count])
    }
}

extension RedisTarget {
    /// Where a cluster's nodes are; none where there is no cluster.
    fileprivate var seeds: [NodeAddress] {
        guard case .cluster(let seeds) = deployment else { return [] }
        return seeds.compactMap { address in
            guard case .tcp(let host, let port) = address else { return nil }
            return NodeAddress(host: host, port: port)
        }
    }
}
