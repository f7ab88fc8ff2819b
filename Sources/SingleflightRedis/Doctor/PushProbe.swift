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

    private let client: RedisClient
    private let timeout: Duration
    private let channel: String
    private let arrivals = Arrivals()
    private let subscription: ChannelSubscription

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
        channel = store.keyspace.inboxPrefix + InboxID(using: &generator).description
        subscription = store.client.makeSubscription(to: channel) { [arrivals] event in
            guard case .message(let bytes) = event else { return }
            arrivals.end(UInt64(String(decoding: bytes, as: UTF8.self)), arrived: .now)
        }
        subscription.start()
        do {
            try await subscription.subscribed(within: timeout)
        } catch {
            await subscription.shutdown()
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
            client.send(RedisCommand("PUBLISH", .string(channel), .string("\(number)"))) { [arrivals] result in
                if case .success = result { return }
                limit.cancel()
                arrivals.end(number, arrived: nil)
            }
        }
    }

    package func shutDown() async {
        await subscription.shutdown()
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
