import HiredisClient
public import SingleflightLease
import Synchronization

extension RedisLeaseStore {
    /// The steps of the flights in the store's namespace, from now on, as far as processes publish them
    /// (``RedisLeaseStoreConfiguration/publishesEvents``).
    ///
    /// A connection of its own hears them, which ends with the stream. Pub/sub keeps nothing: what was published while
    /// the connection was lost, or while the reader was 65 536 events behind, is missed, and
    /// ``LeaseEventUpdate/resumed`` says so.
    ///
    /// - Throws: `LeaseStoreError` that says what is wrong if nothing is heard from Redis within the command timeout.
    public func events() async throws(LeaseStoreError) -> AsyncStream<LeaseEventUpdate> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: LeaseEventUpdate.self,
            bufferingPolicy: .bufferingOldest(65_536)
        )
        let feed = EventFeed(continuation)
        let subscription = self.client.makeSubscription(to: self.keyspace.eventChannel) { feed.receive($0) }
        continuation.onTermination = { _ in
            Task { await subscription.shutdown() }
        }
        subscription.start()
        do {
            try await subscription.subscribed(within: self.commandTimeout)
        } catch {
            continuation.finish()
            guard let error = error as? RedisClientError else {
                throw LeaseStoreError(.unavailable, "\(error)", underlying: error)
            }
            throw LeaseStoreError(error)
        }
        return stream
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

    /// Called on the subscription's event loop, one event at a time.
    func receive(_ event: ChannelSubscription.Event) {
        switch event {
        case .subscribed:
            yield(.resumed)
        case .message(let bytes):
            guard let event = LeaseEvent(bytes: bytes) else { return }
            if self.hasGap.load(ordering: .relaxed) { yield(.resumed) }
            yield(.event(event))
        case .disconnected:
            yield(.interrupted)
        }
    }

    private func yield(_ update: LeaseEventUpdate) {
        switch self.continuation.yield(update) {
        case .enqueued: if update == .resumed { self.hasGap.store(false, ordering: .relaxed) }
        case .dropped: self.hasGap.store(true, ordering: .relaxed)
        case .terminated: break
        @unknown default: break
        }
    }
}
