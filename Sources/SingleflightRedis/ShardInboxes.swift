import HiredisClient
import Logging
import SingleflightLease
import Synchronization

/// The inboxes of a process on a cluster: one for each partition in which the process has led or waited, at most 256.
///
/// Each is a shard channel at the primary of the partition's slot. What is missed while a slot moves is found by the
/// flights of that partition, which ask on every acknowledgement.
final class ShardInboxes: Sendable {
    private struct State {
        var needed: Set<UInt16> = []
        var cluster: RedisClusterClient?
        var subscriber: ShardSubscriber?
        /// One inbox for all partitions, where there are no shard channels.
        var subscription: ChannelSubscription?
        var isShutDown = false
    }

    private let keyspace: Keyspace
    private let inbox: InboxID
    private let router: InboxRouter<String>
    private let receive: @Sendable ([UInt8]) -> Void
    private let logger: Logger
    private let state = Mutex(State())
    private let isUsedNow = Atomic(false)

    /// - Parameter receive: gets the messages.
    init(
        _ keyspace: Keyspace,
        _ inbox: InboxID,
        router: InboxRouter<String>,
        logger: Logger,
        receive: @escaping @Sendable ([UInt8]) -> Void
    ) {
        self.keyspace = keyspace
        self.inbox = inbox
        self.router = router
        self.logger = logger
        self.receive = receive
    }

    /// Whether messages are to come here: there is a cluster, and its servers have shard channels.
    var areUsed: Bool { self.isUsedNow.load(ordering: .acquiring) }

    /// There is a cluster.
    func use(_ cluster: RedisClusterClient) {
        let subscriber = ShardSubscriber(cluster: cluster) { [weak self] in self?.heard($0) }
        self.state.withLock { state in
            state.cluster = cluster
            state.subscriber = subscriber
        }
        self.isUsedNow.store(true, ordering: .releasing)
        // Flights that listen already did not know yet; those that come now know.
        for partition in self.router.marks { self.need(partition) }
    }

    /// A flight of this partition listens. O(1).
    func need(_ partition: UInt16) {
        let subscriber = self.state.withLock { state in
            state.needed.insert(partition).inserted ? state.subscriber : nil
        }
        subscriber?.want(
            self.keyspace.shardInbox(self.inbox, of: Int(partition)),
            slot: self.keyspace.slot(of: Int(partition)),
            tag: partition
        )
    }

    /// Returns when the inbox of a partition is subscribed.
    func untilSubscribed(_ partition: UInt16, within limit: Duration) async throws {
        self.need(partition)
        let subscriber = self.state.withLock { $0.subscriber }
        try await subscriber?.subscribed(tag: partition, within: limit)
    }

    func shutdown() async {
        let (subscriber, subscription) = self.state.withLock { state in
            state.isShutDown = true
            return (state.subscriber.take(), state.subscription.take())
        }
        await subscriber?.shutdown()
        await subscription?.shutdown()
    }

    /// Servers before 7.0: every node passes on every message.
    private func subscribeAsBefore() {
        guard let cluster = self.state.withLock({ $0.cluster }) else { return }
        let router = self.router
        let receive = self.receive
        let channel = self.keyspace.inboxPrefix + self.inbox.description
        let subscription = cluster.makeSubscription(to: channel) { event in
            switch event {
            case .subscribed: router.deliverToAll(.resumed)
            case .message(let bytes): receive(bytes)
            case .disconnected: router.deliverToAll(.interrupted)
            }
        }
        let isWanted = self.state.withLock { state in
            if !state.isShutDown { state.subscription = subscription }
            return !state.isShutDown
        }
        if isWanted { subscription.start() }
    }

    private func heard(_ event: ShardSubscriber.Event) {
        switch event {
        case .resumed(let partitions):
            self.router.deliver(.resumed, toMarks: partitions)
        case .lost(let partitions):
            self.router.deliver(.interrupted, toMarks: partitions)
        case .message(_, let payload):
            self.receive(payload)
        case .unsupported:
            self.isUsedNow.store(false, ordering: .releasing)
            self.logger.warning(
                "the cluster has no shard channels",
                metadata: ["sf_needed": "Redis 7.0 or later, or Valkey"]
            )
            self.subscribeAsBefore()
        case .refused(let error):
            self.logger.warning(
                "redis refuses the inbox",
                metadata: ["sf_error": "\(error)"]
            )
        }
    }
}
