import Logging
import NIOCore
import Synchronization

/// Asking the cluster for its topology.
extension RedisClusterClient {
    /// Something hints at a change. From any thread; idempotent while a refresh is due.
    func wantRefresh() {
        eventLoop.execute {
            let now = self.eventLoop.now
            let random = self.configuration.random()
            if let time = self.routing.withLock({ $0.topology.want(now: now, random: random) }) { self.arm(time) }
        }
    }

    /// Calls `handler` on the event loop each time that slots have moved, or the cluster was asked.
    func onTopology(_ handler: @escaping @Sendable () -> Void) {
        eventLoop.execute {
            self.loopState.value.nextListener += 1
            self.loopState.value.listeners[self.loopState.value.nextListener] = handler
        }
    }

    /// A redirection told of a move. On the event loop.
    func topologyChanged() {
        for listener in loopState.value.listeners.values { listener() }
    }

    private func arm(_ time: NIODeadline) {
        guard time < loopState.value.timerDeadline else { return }
        loopState.value.timer?.cancel()
        loopState.value.timerDeadline = time
        loopState.value.timer = eventLoop.scheduleTask(deadline: time) {
            self.loopState.value.timer = nil
            self.loopState.value.timerDeadline = .distantFuture
            self.refresh()
        }
    }

    private func refresh() {
        let connected = nodes.connected
        let addresses = nodes.addresses
        let candidates = TopologyMachine.Candidates(
            connected: Array(connected),
            seeds: seeds,
            others: primaries.filter { !connected.contains($0) }
                + addresses.filter { !connected.contains($0) }
        )
        let now = eventLoop.now
        var generator = SystemRandomNumberGenerator()
        let first = routing.withLock { $0.topology.begin(candidates, now: now, using: &generator) }
        if let first { ask(first) }
    }

    // MARK: Asking one node

    private func ask(_ node: NodeAddress) {
        if let client = nodes.connectedClient(for: node) {
            return ask(node, client, .slots) { self.answered($0) }
        }
        let client = stranger(node)
        client.start()
        ask(node, client, .slots) { topology in
            Task { await client.shutdown() }
            self.answered(topology)
        }
    }

    /// A client for a node that may be anything: a replica will do, too. Of its failures the topology's say all there
    /// is to say.
    private func stranger(_ node: NodeAddress) -> RedisClient {
        var configuration = configuration
        configuration.point(at: node)
        configuration.requiresPrimary = false
        configuration.scripts = []
        configuration.onConnectionEvent = nil
        return RedisClient(
            configuration: configuration,
            group: eventLoop,
            logger: Logger(label: "singleflight.redis", factory: { _ in SwiftLogNoOpLogHandler() })
        )
    }

    private enum Question {
        case slots, shards

        var command: RedisCommand {
            switch self {
            case .slots: RedisCommand("CLUSTER", "SLOTS")
            case .shards: RedisCommand("CLUSTER", "SHARDS")
            }
        }
    }

    /// No single node may hold up a refresh for longer.
    private static var longestQuestion: Duration { .seconds(1) }

    private func ask(
        _ node: NodeAddress,
        _ client: RedisClient,
        _ question: Question,
        _ completion: @escaping @Sendable (ClusterTopology?) -> Void
    ) {
        let timeout = min(configuration.commandTimeout, Self.longestQuestion)
        let isEncrypted = configuration.target.tls != nil
        client.send(question.command, timeout: timeout) { result in
            let topology: ClusterTopology?
            switch result {
            case .success(let reply):
                switch question {
                case .slots: topology = ClusterTopology(slots: reply, from: node)
                case .shards: topology = ClusterTopology(shards: reply, from: node, isEncrypted: isEncrypted)
                }
            case .failure(let error):
                // A server that does not know the question any more, or does not let this user ask it.
                if error.code == .server, case .slots = question, !Self.saysThatThereIsNoCluster(error) {
                    return self.ask(node, client, .shards, completion)
                }
                self.note(error, of: node)
                return completion(nil)
            }
            guard let topology else {
                let message = "\(node) does not tell the cluster's slots in a form that is understood"
                self.note(RedisClientError(.protocolViolation, message), of: node)
                return completion(nil)
            }
            client.send(RedisCommand("CLUSTER", "INFO"), timeout: timeout) { result in
                var topology = topology
                if case .success(let reply) = result { topology.epoch = ClusterTopology.epoch(info: reply) }
                completion(topology)
            }
        }
    }

    private static func saysThatThereIsNoCluster(_ error: RedisClientError) -> Bool {
        error.serverError?.message.contains("cluster support disabled") ?? false
    }

    private func note(_ error: RedisClientError, of node: NodeAddress) {
        var error = error
        if Self.saysThatThereIsNoCluster(error) {
            error = RedisClientError(.misconfigured, "\(node) is no node of a cluster", underlying: error)
        }
        // A node whose time was over while it was connected to says why.
        let told = error.code == .notSent ? (error.underlying as? RedisClientError) ?? error : error
        routing.withLock { $0.lastError = told }
    }

    // MARK: What it told

    private func answered(_ topology: ClusterTopology?) {
        let now = eventLoop.now
        let random = configuration.random()
        let step = routing.withLock { $0.topology.answered(topology, now: now, random: random) }
        switch step {
        case .ask(let node):
            ask(node)
        case .adopt(let topology, let next):
            adopted(topology)
            arm(next)
        case .failed(let next):
            failed()
            arm(next)
        case nil:
            break
        }
    }

    private func adopted(_ topology: ClusterTopology) {
        if !loopState.value.hasTold {
            loopState.value.hasTold = true
            let metadata: Logger.Metadata = [
                "sf_primaries": "\(topology.primaries.count)", "sf_asked": "\(topology.source)",
            ]
            logger.info("redis is a cluster", metadata: metadata)
        }
        let (parked, waiters) = routing.withLock { routing in
            routing.lastError = nil
            routing.outage.connected()
            return (routing.takeParked(), routing.takeWaiters())
        }
        for waiter in waiters { waiter.resume(.success(())) }
        for request in parked { submit(request) }
        nodes.keep(topology.primaries)
        topologyChanged()
    }

    private func failed() {
        let now = eventLoop.now
        let (parked, waiters, refusal) = routing.withLock { routing in
            routing.outage.lacksConnection(since: now)
            guard routing.topology.known == nil, let refusal = routing.refusal(now: now) else {
                return ([ClusterRequest](), [ConnectionWaiter](), RedisClientError?.none)
            }
            let waiters = refusal.isLasting ? routing.takeWaiters() : []
            return (routing.takeParked(), waiters, refusal)
        }
        if let error = routing.withLock({ $0.lastError }) {
            logger.debug("the cluster cannot be asked", metadata: ["sf_error": "\(error)"])
        }
        guard let refusal else { return }
        for request in parked { request.complete(.failure(refusal)) }
        for waiter in waiters { waiter.resume(.failure(refusal)) }
    }
}
