import HiredisClient
import NIOCore
package import SingleflightLease
import Synchronization

/// Measures how long an announcement takes: from this process through Redis into an inbox of this process.
///
/// It is what a waiting process on this machine waits for after its leader has handed a result over; what such a
/// process then does itself is not in it. Must be shut down.
package final class PushProbe: Sendable {
    private struct Waiting {
        var number: UInt64
        var sent: ContinuousClock.Instant
        var continuation: CheckedContinuation<Duration?, Never>
    }

    private struct State {
        var number: UInt64 = 0
        var waiting: Waiting?
    }

    /// The inbox of the probe.
    private enum Inbox {
        case channel(ChannelSubscription)
        case shard(ShardSubscriber)

        func shutDown() async {
            switch self {
            case .channel(let subscription): await subscription.shutdown()
            case .shard(let subscriber): await subscriber.shutdown()
            }
        }
    }

    private let client: RedisDeploymentClient
    private let timeout: Duration
    private let command: String
    private let channel: String
    private let place: RedisOrder
    private let arrivals = Arrivals()
    private let inbox: Inbox

    /// Apart from the probe, which its own subscription must not keep alive.
    private final class Arrivals: Sendable {
        let state = Mutex(State())

        /// The announcement `number` arrived, or never will.
        func end(_ number: UInt64?, arrived: ContinuousClock.Instant?) {
            let waiting = state.withLock { state -> Waiting? in
                guard state.waiting?.number == number else { return nil }
                return state.waiting.take()
            }
            waiting.map { $0.continuation.resume(returning: arrived.map($0.sent.duration(to:))) }
        }
    }

    fileprivate init(_ store: RedisLeaseStore) async throws(LeaseStoreError) {
        var generator = SystemRandomNumberGenerator()
        client = store.client
        timeout = store.commandTimeout
        let id = InboxID(using: &generator)
        let receive = { @Sendable [arrivals] (bytes: [UInt8]) in
            arrivals.end(UInt64(String(decoding: bytes, as: UTF8.self)), arrived: .now)
        }
        if store.shardInboxes.areUsed {
            command = "SPUBLISH"
            channel = store.keyspace.shardInbox(id, of: 0)
            place = .none(in: store.keyspace.slot(of: 0))
            inbox = .shard(
                ShardSubscriber(cluster: store.client.cluster) { event in
                    if case .message(_, let payload) = event { receive(payload) }
                }
            )
        } else {
            command = "PUBLISH"
            channel = store.keyspace.inboxPrefix + id.description
            place = .none
            let handler: ChannelSubscription.Handler = { event in
                if case .message(let bytes) = event { receive(bytes) }
            }
            inbox = .channel(
                store.client.kind == .cluster
                    ? store.client.cluster.makeSubscription(to: channel, handler: handler)
                    : store.client.makeSubscription(to: channel, handler: handler)
            )
        }
        do {
            switch inbox {
            case .channel(let subscription):
                subscription.start()
                try await subscription.subscribed(within: timeout)
            case .shard(let subscriber):
                subscriber.want(channel, slot: store.keyspace.slot(of: 0), tag: 0)
                try await subscriber.subscribed(tag: 0, within: timeout)
            }
        } catch {
            await inbox.shutDown()
            guard let error = error as? RedisClientError else {
                throw LeaseStoreError(.unavailable, "\(error)", underlying: error)
            }
            throw LeaseStoreError(error)
        }
    }

    /// The time from sending an announcement to hearing it; `nil` if it was not heard within the command timeout.
    ///
    /// One at a time: an earlier measurement that is still under way ends with `nil`.
    package func measure() async -> Duration? {
        await withCheckedContinuation { continuation in
            let (number, earlier) = arrivals.state.withLock { state in
                state.number += 1
                let earlier = state.waiting.take()
                state.waiting = Waiting(number: state.number, sent: .now, continuation: continuation)
                return (state.number, earlier)
            }
            earlier?.continuation.resume(returning: nil)
            let limit = client.eventLoop.scheduleTask(in: TimeAmount(timeout)) { [arrivals] in
                arrivals.end(number, arrived: nil)
            }
            let message = RedisCommand(command, .string(channel), .string("\(number)"))
            client.send(message, order: place) { [arrivals] result in
                if case .success = result { return }
                limit.cancel()
                arrivals.end(number, arrived: nil)
            }
        }
    }

    package func shutDown() async {
        await inbox.shutDown()
    }
}

extension RedisLeaseStore {
    /// A probe on a connection of its own.
    ///
    /// - Throws: `LeaseStoreError` if its inbox cannot be had within the command timeout.
    package func pushProbe() async throws(LeaseStoreError) -> PushProbe {
        try await PushProbe(self)
    }
}
