package import Logging
package import NIOCore
import NIOPosix
import Synchronization

/// A client of a cluster: sends each command to the primary of its slot, and follows where slots go.
///
/// There is a connection for each primary, made when it is first needed, all on one event loop. Commands of one order
/// are carried out in the sequence in which they were submitted, also while their slot moves. A command is redirected
/// five times at most; its deadline covers everything. Nothing that may have been carried out is ever sent twice.
///
/// Replicas are never read. Must be shut down; until then the client keeps itself alive.
package final class RedisClusterClient: RedisCommanding {
    package let configuration: RedisClientConfiguration
    package let eventLoop: any EventLoop
    package let eventLoopEnd: EventLoopEnd

    let logger: Logger
    package let seeds: [NodeAddress]
    let nodes: ClusterNodes
    let routing: Mutex<Routing>
    let loopState: NIOLoopBoundBox<LoopState>
    private let sequences = Atomic<UInt64>(0)
    private let hooks: Hooks

    /// What is looked at by every thread that sends.
    struct Routing {
        var topology = TopologyMachine()
        var lanes = RequestLanes<ClusterRequest>()
        /// What waits for the first topology, by its sequence.
        var parked: [UInt64: ClusterRequest] = [:]
        /// Callers that wait for the first topology.
        var waiters: [ObjectIdentifier: ConnectionWaiter] = [:]
        var outage: Outage
        /// Why the cluster could not be asked.
        var lastError: RedisClientError?
        var isStarted = false
        /// Why nothing is taken any more.
        var end: RedisClientError?
    }

    /// Used on the event loop only.
    struct LoopState {
        var timer: Scheduled<Void>?
        var timerDeadline = NIODeadline.distantFuture
        var listeners: [UInt64: @Sendable () -> Void] = [:]
        var nextListener: UInt64 = 0
        var connectionListeners: [@Sendable (RedisClient, NodeAddress) -> Void] = []
        var hasTold = false
    }

    /// What nodes' clients call, which are made before the client is.
    private final class Hooks: Sendable {
        private struct Owner {
            weak var client: RedisClusterClient?
        }
        private let owner = Mutex(Owner())

        func set(_ client: RedisClusterClient) {
            owner.withLock { $0.client = client }
        }

        func changed(_ address: NodeAddress, _ event: ConnectionEvent) {
            owner.withLock { $0.client }?.changed(address, event)
        }
    }

    /// - Parameters:
    ///   - seeds: addresses to begin with; each is resolved anew every time.
    ///   - configuration: of each node's connection for commands; its address does not count.
    ///   - payloads: of each node's connection for long results.
    package init(
        seeds: [NodeAddress],
        configuration: RedisClientConfiguration,
        payloads: RedisClientConfiguration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        var configuration = configuration
        configuration.findsClusters = false
        var payloads = payloads
        payloads.findsClusters = false
        self.seeds = seeds
        self.configuration = configuration
        self.logger = logger
        eventLoop = group.next()
        eventLoopEnd = EventLoopEnd(of: eventLoop)
        let hooks = Hooks()
        self.hooks = hooks
        nodes = ClusterNodes(
            configuration: configuration,
            payloads: payloads,
            eventLoop: eventLoop,
            logger: logger,
            onChange: { hooks.changed($0, $1) }
        )
        routing = Mutex(Routing(outage: Outage(patience: TimeAmount(configuration.commandTimeout))))
        loopState = .makeBoxSendingValue(LoopState(), eventLoop: eventLoop)
        hooks.set(self)
        eventLoopEnd.whenCome { [weak self] in self?.end(.eventLoopEnded) }
    }

    // MARK: Lifecycle

    package func start() {
        let isFirst = routing.withLock { routing in
            defer { routing.isStarted = true }
            return !routing.isStarted && routing.end == nil
        }
        if isFirst { wantRefresh() }
    }

    package func shutdown() async {
        end(RedisClientError(.shutDown, "the client is shut down"))
        if !eventLoopEnd.hasCome {
            eventLoop.execute {
                self.loopState.value.timer?.cancel()
                self.loopState.value.listeners = [:]
                self.loopState.value.connectionListeners = []
            }
        }
        await nodes.shutdown()
    }

    private func end(_ reason: RedisClientError) {
        let (requests, waiters) = routing.withLock { routing in
            routing.end = routing.end ?? reason
            routing.topology.shutDown()
            return (routing.takeWaiting(), routing.takeWaiters())
        }
        for request in requests { request.complete(.failure(reason)) }
        for waiter in waiters { waiter.resume(.failure(reason)) }
        nodes.end(reason)
    }

    /// Returns when the topology is known, and each primary is connected or has had the time for it.
    ///
    /// - Throws: why the topology is not known, or no primary connected, after `limit`, or at once if the server
    ///   refuses the credentials; `CancellationError` if the task is canceled.
    package func connected(within limit: Duration) async throws {
        let deadline = ContinuousClock.now.advanced(by: limit)
        try await topologyKnown(within: limit)
        let clients = primaries.compactMap { nodes.client(for: $0, purpose: .commands) }
        let rest = max(ContinuousClock.now.duration(to: deadline), .milliseconds(10))
        let failures = await withTaskGroup(of: (any Error)?.self) { group in
            for client in clients {
                group.addTask {
                    do {
                        try await client.connected(within: rest)
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            var failures: [any Error] = []
            for await failure in group { if let failure { failures.append(failure) } }
            return failures
        }
        try Task.checkCancellation()
        if let failure = failures.first, failures.count == clients.count { throw failure }
    }

    private func topologyKnown(within limit: Duration) async throws {
        let waiter = ConnectionWaiter()
        let id = ObjectIdentifier(waiter)
        let refusal = routing.withLock { routing -> Result<Void, any Error>? in
            if let end = routing.end { return .failure(end) }
            if routing.topology.known != nil { return .success(()) }
            if let error = routing.lastError, error.isLasting, !routing.topology.isAsking { return .failure(error) }
            routing.waiters[id] = waiter
            return nil
        }
        if let refusal { return try refusal.get() }
        let timer = eventLoop.scheduleTask(in: TimeAmount(limit)) {
            waiter.resume(.failure(self.reason))
        }
        defer {
            timer.cancel()
            _ = routing.withLock { $0.waiters.removeValue(forKey: id) }
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { waiter.park($0) }
        } onCancel: {
            waiter.resume(.failure(CancellationError()))
        }
    }

    /// Why the cluster's topology is not known, as far as that is.
    var reason: RedisClientError {
        routing.withLock { routing in
            if let error = routing.lastError { return error }
            guard routing.isStarted else { return RedisClientError(.connectionFailed, "the client was never started") }
            let places = seeds.map(\.description).joined(separator: ", ")
            return RedisClientError(.connectionFailed, "no node of the cluster answered in time: \(places)")
        }
    }

    // MARK: Commands

    package func send(
        _ command: RedisCommand,
        timeout: Duration? = nil,
        order: RedisOrder = .none,
        completion: @escaping RedisClient.Completion
    ) {
        submit(.command(command), .commands, timeout, order, completion)
    }

    package func evaluate(
        _ script: RedisScript,
        keys: [RedisArgument],
        arguments: [RedisArgument] = [],
        timeout: Duration? = nil,
        order: RedisOrder = .none,
        completion: @escaping RedisClient.Completion
    ) {
        submit(.script(script, keys: keys, arguments: arguments), .commands, timeout, order, completion)
    }

    /// The same on the connections for long results.
    func evaluateLong(
        _ script: RedisScript,
        keys: [RedisArgument],
        arguments: [RedisArgument],
        timeout: Duration,
        order: RedisOrder,
        completion: @escaping RedisClient.Completion
    ) {
        submit(.script(script, keys: keys, arguments: arguments), .payloads, timeout, order, completion)
    }

    /// The node that a command of this order is sent to; `nil` as long as the topology is not known.
    package func node(for order: RedisOrder) -> NodeAddress? {
        routing.withLock { $0.node(for: order) }
    }

    /// The primaries that serve slots; none as long as the topology is not known.
    package var primaries: [NodeAddress] {
        routing.withLock { $0.topology.known?.primaries ?? [] }
    }

    /// The client for commands of one node; `nil` once shut down.
    package func client(of node: NodeAddress) -> RedisClient? {
        nodes.client(for: node, purpose: .commands)
    }

    /// A subscription to a channel that is no shard's, at some primary: all nodes pass its messages on to one another.
    package func makeSubscription(
        to channel: String,
        handler: @escaping ChannelSubscription.Handler
    ) -> ChannelSubscription {
        var configuration = configuration
        configuration.finder = AnyPrimaryFinder(configuration.target) { [weak self] in self?.primaries ?? [] }
        return ChannelSubscription(
            channel: channel,
            configuration: configuration,
            eventLoop: eventLoop,
            end: eventLoopEnd,
            logger: logger,
            handler: handler
        )
    }

    private func submit(
        _ payload: ClusterRequest.Payload,
        _ purpose: ConnectionEvent.Purpose,
        _ timeout: Duration?,
        _ order: RedisOrder,
        _ completion: @escaping RedisClient.Completion
    ) {
        submit(
            ClusterRequest(
                payload: payload,
                purpose: purpose,
                order: order,
                deadline: eventLoop.now + TimeAmount(timeout ?? configuration.commandTimeout),
                sequence: sequences.add(1, ordering: .relaxed).newValue,
                completion: RedisClient.Kept(completion)
            )
        )
    }

    private enum Decision {
        case send(NodeAddress)
        case keep
        case refuse(RedisClientError)
    }

    func submit(_ request: ClusterRequest) {
        let now = eventLoop.now
        // What any node can answer goes to one that answers.
        let anyone = request.order.slot == nil ? nodes.connected.randomElement() : nil
        let decision = routing.withLock { routing -> Decision in
            if let end = routing.end { return .refuse(end) }
            guard let node = anyone ?? routing.node(for: request.order) else {
                if let refusal = routing.refusal(now: now) { return .refuse(refusal) }
                guard routing.parked.count < configuration.maximumQueuedCommands else {
                    return .refuse(RedisClientError(.overloaded, "too many commands wait to be sent"))
                }
                routing.outage.lacksConnection(since: now)
                routing.parked[request.sequence] = request
                return .keep
            }
            guard request.isInLane else { return .send(node) }
            let entry = RequestLanes.Entry(request: request, order: request.order, sequence: request.sequence)
            return routing.lanes.submit(entry, to: node) ? .send(node) : .keep
        }
        switch decision {
        case .send(let node): transmit(request, to: node, isAsking: false)
        case .keep: expireInTime(request)
        case .refuse(let error): request.complete(.failure(error))
        }
    }

    // MARK: Sending and answers

    private func transmit(_ request: ClusterRequest, to node: NodeAddress, isAsking: Bool) {
        guard let client = nodes.client(for: node, purpose: request.purpose) else {
            return answered(request, node, .failure(RedisClientError(.shutDown, "the client is shut down")))
        }
        request.send(to: client, isAsking: isAsking, now: eventLoop.now) { self.answered(request, node, $0) }
    }

    private func answered(
        _ request: ClusterRequest,
        _ node: NodeAddress,
        _ result: Result<RESPValue, RedisClientError>
    ) {
        guard case .failure(let error) = result else { return finish(request, result, wasCarriedOut: true) }
        var request = request
        var isNews = false
        let now = eventLoop.now
        let (verdict, wantsRefresh) = routing.withLock { routing in
            routing.verdict(on: error, of: node, for: &request, isNews: &isNews, now: now, configuration.random())
        }
        if isNews { topologyChanged() }
        if wantsRefresh { wantRefresh() }
        guard case .again(let pause, let asking) = verdict else {
            return finish(request, .failure(error.told(after: request.lastError)), wasCarriedOut: error.mayHaveExecuted)
        }
        request.lastError = error
        sendAgain(request, at: now + pause, asking: asking)
    }

    private func finish(
        _ request: ClusterRequest,
        _ result: Result<RESPValue, RedisClientError>,
        wasCarriedOut: Bool
    ) {
        if request.isInLane {
            let now = eventLoop.now
            let steps = routing.withLock { routing in
                routing.lanes.answered(
                    request.order,
                    sequence: request.sequence,
                    wasCarriedOut: wasCarriedOut,
                    owner: routing.owner(for: request.order),
                    now: now
                )
            }
            perform(steps, request.order)
        }
        request.complete(result)
    }

    private func sendAgain(_ request: ClusterRequest, at time: NIODeadline, asking: NodeAddress?) {
        guard request.isInLane else {
            eventLoop.scheduleTask(deadline: time) {
                guard let node = asking ?? self.node(for: request.order) else { return self.submit(request) }
                self.transmit(request, to: node, isAsking: asking != nil)
            }
            return
        }
        let entry = RequestLanes.Entry(
            request: request,
            order: request.order,
            sequence: request.sequence,
            asking: asking,
            readyAt: time
        )
        let now = eventLoop.now
        let steps = routing.withLock { routing in
            routing.lanes.sendBack(entry, owner: routing.owner(for: request.order), now: now)
        }
        expireInTime(request)
        perform(steps, request.order)
    }

    /// Takes the steps, and those that follow from them: while requests are being sent, others of their order wait.
    private func perform(_ steps: [RequestLanes<ClusterRequest>.Step], _ order: RedisOrder) {
        var steps = steps
        while !steps.isEmpty {
            var hasSent = false
            for step in steps {
                switch step {
                case .send(let entry, let node):
                    hasSent = true
                    transmit(entry.request, to: node, isAsking: entry.asking != nil)
                case .overtaken(let entry):
                    let message = "the request was redirected, and a later one has been carried out since"
                    let error = RedisClientError(.notSent, message, underlying: entry.request.lastError)
                    entry.request.complete(.failure(error))
                case .wake(let order, let time):
                    eventLoop.scheduleTask(deadline: time) { self.woke(order) }
                }
            }
            guard hasSent else { return }
            let now = eventLoop.now
            steps = routing.withLock { routing in
                routing.lanes.resume(order, owner: routing.owner(for: order), now: now)
            }
        }
    }

    private func woke(_ order: RedisOrder) {
        let now = eventLoop.now
        let steps = routing.withLock { routing in
            routing.lanes.woke(order, owner: routing.owner(for: order), now: now)
        }
        perform(steps, order)
    }

    // MARK: Deadlines

    private func expireInTime(_ request: ClusterRequest) {
        let (order, sequence) = (request.order, request.sequence)
        eventLoop.scheduleTask(deadline: request.deadline) { self.expire(order, sequence) }
    }

    private func expire(_ order: RedisOrder, _ sequence: UInt64) {
        let request = routing.withLock { routing in
            routing.parked.removeValue(forKey: sequence)
                ?? routing.lanes.takeWaiting(order, sequence: sequence)?.request
        }
        guard let request else { return }
        request.complete(
            .failure(
                request.lastError
                    ?? RedisClientError(
                        .notSent,
                        "the command could not be sent before its deadline",
                        underlying: reason
                    )
            )
        )
    }

    // MARK: Nodes

    fileprivate func changed(_ address: NodeAddress, _ event: ConnectionEvent) {
        guard case .connected = event.change else { return wantRefresh() }
        guard event.purpose == .commands, let client = nodes.connectedClient(for: address) else { return }
        for listener in loopState.value.connectionListeners { listener(client, address) }
    }

    /// Calls `handler` on the event loop each time that a connection for commands is made.
    package func onConnected(_ handler: @escaping @Sendable (RedisClient, NodeAddress) -> Void) {
        eventLoop.execute { self.loopState.value.connectionListeners.append(handler) }
    }
}

extension RedisClientError {
    /// What a caller is told of a request that is given up. Of a redirection that led nowhere: nothing is wrong with
    /// the request. Of a sending whose time was up: why there was more than one, as the last answer has it.
    fileprivate func told(after last: RedisClientError?) -> RedisClientError {
        if code != .server, let last {
            let cause = underlying.map { "\(message): \($0)" } ?? message
            return RedisClientError(code, cause, underlying: last)
        }
        guard code == .server, let answer = serverError, ["MOVED", "ASK"].contains(answer.code) else { return self }
        return RedisClientError(
            .notSent,
            "the nodes of the cluster do not agree on who serves the key",
            underlying: answer
        )
    }
}

extension ClusterRequest {
    /// Whether its order is kept. What has a connection of its own overtakes all others anyway.
    var isInLane: Bool { order.isKept && purpose == .commands }
}

extension RedisClusterClient.Routing {
    func node(for order: RedisOrder) -> NodeAddress? {
        guard let known = topology.known else { return nil }
        return order.slot.map { known.node(for: $0) } ?? known.primaries.first ?? known.source
    }

    /// The same, of an order that has requests under way: the topology is known.
    func owner(for order: RedisOrder) -> NodeAddress {
        node(for: order) ?? NodeAddress(host: "", port: 0)
    }

    /// Why nothing waits for the first topology any longer.
    func refusal(now: NIODeadline) -> RedisClientError? {
        if let error = lastError, error.isLasting, !topology.isAsking { return error }
        guard outage.isKnown(now: now) else { return nil }
        return RedisClientError(.outage, "the cluster is out of reach", underlying: lastError)
    }

    /// What becomes of a request that a node answered with an error, or could not be sent to it; and whether the
    /// topology is to be looked at.
    mutating func verdict(
        on error: RedisClientError,
        of node: NodeAddress,
        for request: inout ClusterRequest,
        isNews: inout Bool,
        now: NIODeadline,
        _ random: Double
    ) -> (RedirectMachine.Verdict, wantsRefresh: Bool) {
        guard end == nil, request.order.slot != nil else { return (.giveUp, false) }
        if error.code == .server, let answer = error.serverError {
            guard let redirection = Redirection(answer, from: node) else { return (.giveUp, false) }
            var wantsRefresh = false
            switch redirection {
            case .moved(let slot, let address):
                isNews = topology.moved(slot, to: address)
                wantsRefresh = true
            case .unready:
                wantsRefresh = true
            case .ask, .tryAgain:
                break
            }
            let verdict = request.redirects.handle(redirection, now: now, deadline: request.deadline, random: random)
            return (verdict, wantsRefresh)
        }
        guard ClusterRequest.isUnsent(error), self.node(for: request.order) != node else { return (.giveUp, false) }
        return (request.redirects.rerouted(now: now, deadline: request.deadline), false)
    }

    /// All requests that are with no node, in their sequence.
    mutating func takeWaiting() -> [ClusterRequest] {
        let waiting = takeParked() + lanes.takeAllWaiting().map(\.request)
        return waiting.sorted { $0.sequence < $1.sequence }
    }

    mutating func takeParked() -> [ClusterRequest] {
        defer { parked = [:] }
        return parked.values.sorted { $0.sequence < $1.sequence }
    }

    mutating func takeWaiters() -> [ConnectionWaiter] {
        defer { waiters = [:] }
        return Array(waiters.values)
    }
}
