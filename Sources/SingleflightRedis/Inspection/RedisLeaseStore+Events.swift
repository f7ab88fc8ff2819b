import HiredisClient
public import SingleflightLease
import Synchronization

extension RedisLeaseStore {
    /// The steps of the flights in the store's namespace, from now on, as far as processes publish them
    /// (``RedisLeaseStoreConfiguration/publishesEvents``).
    ///
    /// A connection of its own hears them, of a cluster one for each primary, which ends with the stream. Pub/sub keeps
    /// nothing: what was published while the connection was lost, or while the reader was 65 536 events behind, is
    /// missed, and ``LeaseEventUpdate/resumed`` says so.
    ///
    /// - Throws: `LeaseStoreError` that says what is wrong if nothing is heard from Redis within the command timeout;
    ///   on a cluster, if not all of it is.
    public func events() async throws(LeaseStoreError) -> AsyncStream<LeaseEventUpdate> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: LeaseEventUpdate.self,
            bufferingPolicy: .bufferingOldest(65_536)
        )
        let feed = EventFeed(continuation)
        do {
            if self.shardInboxes.areUsed {
                try await self.hearShards(feed, continuation)
            } else {
                try await self.hearChannel(feed, continuation)
            }
        } catch {
            continuation.finish()
            guard let error = error as? RedisClientError else {
                throw LeaseStoreError(.unavailable, "\(error)", underlying: error)
            }
            throw LeaseStoreError(error)
        }
        return stream
    }

    private func hearChannel(
        _ feed: EventFeed,
        _ continuation: AsyncStream<LeaseEventUpdate>.Continuation
    ) async throws {
        let handler: ChannelSubscription.Handler = { event in
            switch event {
            case .subscribed: feed.tell(.resumed)
            case .message(let bytes): feed.receive(bytes)
            case .disconnected: feed.tell(.interrupted)
            }
        }
        let channel = self.keyspace.eventChannel
        let subscription =
            self.client.kind == .cluster
            ? self.client.cluster.makeSubscription(to: channel, handler: handler)
            : self.client.makeSubscription(to: channel, handler: handler)
        continuation.onTermination = { _ in
            Task { await subscription.shutdown() }
        }
        subscription.start()
        try await subscription.subscribed(within: self.commandTimeout)
    }

    /// Each partition has a channel of its own. What is heard of some of them only counts as nothing.
    private func hearShards(
        _ feed: EventFeed,
        _ continuation: AsyncStream<LeaseEventUpdate>.Continuation
    ) async throws {
        let partitions = MissingPartitions()
        let subscriber = ShardSubscriber(cluster: self.client.cluster) { event in
            switch event {
            case .resumed(let tags): if partitions.resumed(tags) { feed.tell(.resumed) }
            case .lost(let tags): if partitions.lost(tags) { feed.tell(.interrupted) }
            case .message(_, let payload): feed.receive(payload)
            case .unsupported, .refused: break
            }
        }
        continuation.onTermination = { _ in
            Task { await subscriber.shutdown() }
        }
        for partition in 0..<Keyspace.partitionCount {
            subscriber.want(
                self.keyspace.shardEventChannel(of: partition),
                slot: self.keyspace.slot(of: partition),
                tag: UInt16(partition)
            )
        }
        let deadline = ContinuousClock.now.advanced(by: self.commandTimeout)
        for partition in 0..<Keyspace.partitionCount {
            let rest = max(ContinuousClock.now.duration(to: deadline), .zero)
            try await subscriber.subscribed(tag: UInt16(partition), within: rest)
        }
    }
}

/// Which partitions' events are not heard.
private final class MissingPartitions: Sendable {
    private let missing = Mutex(Set(0..<UInt16(Keyspace.partitionCount)))

    /// Whether all are heard, and were not before.
    func resumed(_ partitions: Set<UInt16>) -> Bool {
        self.missing.withLock { missing in
            let wasComplete = missing.isEmpty
            missing.subtract(partitions)
            return !wasComplete && missing.isEmpty
        }
    }

    /// Whether all were heard before.
    func lost(_ partitions: Set<UInt16>) -> Bool {
        self.missing.withLock { missing in
            let wasComplete = missing.isEmpty
            missing.formUnion(partitions)
            return wasComplete && !missing.isEmpty
        }
    }
}

/// Fills the stream, and remembers what the reader must be told of a gap.
private final class EventFeed: Sendable {
    private let continuation: AsyncStream<LeaseEventUpdate>.Continuation
    /// Something was dropped since the last update that got through.
    private let hasGap = Atomic(false)

    init(_ continuation: AsyncStream<LeaseEventUpdate>.Continuation) {
        self.continuation = continuation
    }

    /// Called on the subscription's event loop, one message at a time.
    func receive(_ bytes: [UInt8]) {
        guard let event = LeaseEvent(bytes: bytes) else { return }
        if self.hasGap.load(ordering: .relaxed) { tell(.resumed) }
        tell(.event(event))
    }

    /// On the event loop as well.
    func tell(_ update: LeaseEventUpdate) {
        switch self.continuation.yield(update) {
        case .enqueued: if update == .resumed { self.hasGap.store(false, ordering: .relaxed) }
        case .dropped: self.hasGap.store(true, ordering: .relaxed)
        case .terminated: break
        @unknown default: break
        }
    }
}
