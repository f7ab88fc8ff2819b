import Logging
import NIOCore
import Synchronization

/// Shard channels of a cluster that are subscribed to, and kept so until shut down: each at the primary of its slot, on
/// one connection for each primary.
///
/// Between `lost` and the next `resumed` of a tag, messages are missed. A user who needs them has to ask elsewhere, on
/// every `resumed`.
package final class ShardSubscriber: Sendable {
    package enum Event: Sendable {
        /// The channels of these tags are heard: for the first time, or again.
        case resumed(Set<UInt16>)
        /// Nothing is heard on them.
        case lost(Set<UInt16>)
        case message(channel: String, payload: [UInt8])
        /// The server has no shard channels: it is older than 7.0. Told once; nothing else follows.
        case unsupported
        /// The user may not subscribe. Told once.
        case refused(RedisClientError)
    }

    /// Runs on the event loop, one event at a time, in order. No event follows ``shutdown()``.
    package typealias Handler = @Sendable (Event) -> Void

    private let cluster: RedisClusterClient
    private let handler: Handler
    private let state: NIOLoopBoundBox<State>
    private let clients = Mutex<[NodeAddress: RedisClient]>([:])
    private let isShutDown = Atomic(false)

    private struct State {
        var machine = ShardMachine()
        var wakeTimes: Set<NIODeadline> = []
        var resumed: Set<UInt16> = []
        var isFlushDue = false
        var isSupported = true
        var hasToldOfRefusal = false
        /// A node is asked now and then who listens, since it need not say that it forgot.
        var verification: Scheduled<Void>?
        /// Callers that wait for its channel: on each acknowledgement these are looked at.
        var waiters: [(tag: UInt16, waiter: ConnectionWaiter)] = []
        var heard: Set<UInt16> = []
    }

    package init(cluster: RedisClusterClient, handler: @escaping Handler) {
        self.cluster = cluster
        self.handler = handler
        state = .makeBoxSendingValue(State(), eventLoop: cluster.eventLoop)
        cluster.onTopology { [weak self] in self?.topologyChanged() }
    }

    private var eventLoop: any EventLoop { cluster.eventLoop }
    private var now: NIODeadline { eventLoop.now }

    /// Between two questions who listens.
    private static let verificationPeriod = TimeAmount.seconds(10)

    /// Subscribes to a channel, and keeps it subscribed. From any thread; idempotent.
    ///
    /// - Parameter tag: by which events call it; several channels may have one.
    package func want(_ channel: String, slot: HashSlot, tag: UInt16) {
        eventLoop.execute {
            guard !self.isShutDown.load(ordering: .relaxed) else { return }
            self.perform(self.state.value.machine.want(channel, slot: slot, tag: tag, owner: self.owner, now: self.now))
            if self.state.value.verification == nil { self.verifyLater() }
        }
    }

    /// Returns when a channel of this tag is subscribed to.
    ///
    /// - Throws: why it is not, after `limit`.
    package func subscribed(tag: UInt16, within limit: Duration) async throws {
        let waiter = ConnectionWaiter()
        eventLoop.execute {
            if self.state.value.heard.contains(tag) { return waiter.resume(.success(())) }
            self.state.value.waiters.append((tag, waiter))
        }
        let timer = eventLoop.scheduleTask(in: TimeAmount(limit)) {
            let reason = RedisClientError(.connectionFailed, "no shard channel could be subscribed to in time")
            waiter.resume(.failure(self.lastError ?? reason))
        }
        defer { timer.cancel() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { waiter.park($0) }
        } onCancel: {
            waiter.resume(.failure(CancellationError()))
        }
    }

    private var lastError: RedisClientError? {
        clients.withLock { $0.values.lazy.compactMap(\.lastError).first }
    }

    /// Closes the connections and returns when they are closed. Idempotent and terminal.
    package func shutdown() async {
        isShutDown.store(true, ordering: .relaxed)
        let clients = clients.withLock { clients in
            defer { clients = [:] }
            return Array(clients.values)
        }
        if !cluster.eventLoopEnd.hasCome {
            eventLoop.execute {
                self.state.value.verification?.cancel()
                let waiters = self.state.value.waiters
                self.state.value.waiters = []
                for (_, waiter) in waiters {
                    waiter.resume(.failure(RedisClientError(.shutDown, "the client is shut down")))
                }
            }
        }
        await withTaskGroup(of: Void.self) { group in
            for client in clients { group.addTask { await client.shutdown() } }
        }
    }

    // MARK: On the event loop

    private var owner: (HashSlot) -> NodeAddress? {
        { self.cluster.node(for: .none(in: $0)) }
    }

    private func perform(_ steps: [ShardMachine.Step]) {
        var lost: Set<UInt16> = []
        for step in steps {
            switch step {
            case .subscribe(let channel, let node, let attempt):
                subscribe(channel, at: node, attempt: attempt)
            case .lost(let tag):
                lost.insert(tag)
                state.value.heard.remove(tag)
                state.value.resumed.remove(tag)
            case .resumed(let tag):
                resumed(tag)
            case .refreshTopology:
                cluster.wantRefresh()
            case .wake(let time):
                guard state.value.wakeTimes.insert(time).inserted else { continue }
                eventLoop.scheduleTask(deadline: time) {
                    self.state.value.wakeTimes.remove(time)
                    guard !self.isShutDown.load(ordering: .relaxed) else { return }
                    self.perform(self.state.value.machine.woke(owner: self.owner, now: self.now))
                }
            }
        }
        if !lost.isEmpty { handler(.lost(lost)) }
    }

    /// Acknowledgements come in numbers, and each makes flights ask: those of one turn are told together.
    private func resumed(_ tag: UInt16) {
        state.value.heard.insert(tag)
        state.value.resumed.insert(tag)
        let waiters = state.value.waiters.filter { $0.tag == tag }
        state.value.waiters.removeAll { $0.tag == tag }
        for (_, waiter) in waiters { waiter.resume(.success(())) }
        guard !state.value.isFlushDue else { return }
        state.value.isFlushDue = true
        eventLoop.execute {
            self.state.value.isFlushDue = false
            let tags = self.state.value.resumed
            self.state.value.resumed = []
            guard !tags.isEmpty, !self.isShutDown.load(ordering: .relaxed) else { return }
            self.handler(.resumed(tags))
        }
    }

    private func topologyChanged() {
        guard !isShutDown.load(ordering: .relaxed) else { return }
        perform(state.value.machine.topologyChanged(owner: owner, now: now))
        closeUnused()
    }

    private func subscribe(_ channel: String, at node: NodeAddress, attempt: UInt64) {
        guard let client = client(for: node) else { return }
        client.send(RedisCommand("SSUBSCRIBE", .string(channel))) { result in
            guard !self.isShutDown.load(ordering: .relaxed) else { return }
            let answer = self.answer(result, from: node)
            guard self.state.value.isSupported else { return }
            let steps = self.state.value.machine.answered(
                channel,
                attempt: attempt,
                answer,
                owner: self.owner,
                now: self.now,
                random: self.cluster.configuration.random()
            )
            self.perform(steps)
        }
    }

    private func answer(
        _ result: Result<RESPValue, RedisClientError>,
        from node: NodeAddress
    ) -> ShardMachine.Answer {
        guard case .failure(let error) = result else { return .acknowledged }
        if error.code == .authenticationFailed { return refused(error) }
        guard error.code == .server, let answer = error.serverError else { return .failed }
        if case .moved(let slot, let address) = Redirection(answer, from: node) {
            cluster.learn(slot, at: address)
            return .moved
        }
        if answer.isAuthentication { return refused(error) }
        if answer.message.hasPrefix("ERR unknown command") {
            if state.value.isSupported {
                state.value.isSupported = false
                handler(.unsupported)
            }
            return .refused
        }
        return .failed
    }

    private func refused(_ error: RedisClientError) -> ShardMachine.Answer {
        if !state.value.hasToldOfRefusal {
            state.value.hasToldOfRefusal = true
            handler(.refused(error))
        }
        return .refused
    }

    // MARK: Connections

    private func client(for node: NodeAddress) -> RedisClient? {
        guard !isShutDown.load(ordering: .relaxed) else { return nil }
        if let client = clients.withLock({ $0[node] }) { return client }
        var configuration = cluster.configuration
        configuration.point(at: node)
        configuration.purpose = .inbox
        configuration.scripts = []
        configuration.onShardPush = { [weak self] push in self?.heard(push, from: node) }
        let listener = configuration.onConnectionEvent
        configuration.onConnectionEvent = { [weak self] event in
            listener?(event)
            if case .lost = event.change { self?.nodeLost(node) }
        }
        let client = RedisClient(configuration: configuration, group: eventLoop, logger: cluster.logger)
        clients.withLock { $0[node] = client }
        client.start()
        return client
    }

    private func heard(_ push: ShardPush, from node: NodeAddress) {
        guard !isShutDown.load(ordering: .relaxed) else { return }
        switch push {
        case .message(let channel, let payload):
            handler(.message(channel: channel, payload: payload))
        case .unsubscribed(let channel):
            perform(state.value.machine.unsubscribed(channel, by: node, owner: owner, now: now))
        case .subscribed:
            break
        }
    }

    private func nodeLost(_ node: NodeAddress) {
        guard !isShutDown.load(ordering: .relaxed) else { return }
        perform(state.value.machine.nodeLost(node, owner: owner, now: now))
    }

    private func closeUnused() {
        let needed = state.value.machine.nodes.union(cluster.primaries)
        let unused = clients.withLock { clients in
            let unused = clients.filter { !needed.contains($0.key) }
            for node in unused.keys { clients[node] = nil }
            return Array(unused.values)
        }
        for client in unused {
            Task { await client.shutdown() }
        }
    }

    // MARK: Verification

    private func verifyLater() {
        let jitter = 0.8 + 0.4 * cluster.configuration.random()
        let period = TimeAmount.nanoseconds(Int64(Double(Self.verificationPeriod.nanoseconds) * jitter))
        state.value.verification = eventLoop.scheduleTask(in: period) {
            guard !self.isShutDown.load(ordering: .relaxed) else { return }
            self.verify()
            self.verifyLater()
        }
    }

    /// Asks each primary who listens to the channels that are subscribed to there. A user who may not ask goes without.
    func verify() {
        for (node, channels) in state.value.machine.subscribed {
            guard let client = cluster.client(of: node) else { continue }
            let arguments = [RedisArgument.string("SHARDNUMSUB")] + channels.map { .string($0) }
            client.send(RedisCommand("PUBSUB", arguments: arguments)) { result in
                guard case .success(let reply) = result, let pairs = reply.array else { return }
                for index in stride(from: 0, to: pairs.count - 1, by: 2) where pairs[index + 1].integer == 0 {
                    guard let channel = pairs[index].string, !self.isShutDown.load(ordering: .relaxed) else { continue }
                    self.perform(
                        self.state.value.machine.missing(channel, at: node, owner: self.owner, now: self.now)
                    )
                }
            }
        }
    }
}

extension RedisClusterClient {
    /// A redirection of a subscription told where a slot is. On the event loop.
    func learn(_ slot: HashSlot, at node: NodeAddress) {
        guard routing.withLock({ $0.topology.moved(slot, to: node) }) else { return }
        // Not at once: the code that learned it is in the middle of something.
        eventLoop.execute { self.topologyChanged() }
    }
}
