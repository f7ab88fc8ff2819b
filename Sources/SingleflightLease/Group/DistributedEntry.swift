public import Singleflight

/// What ``DistributedGroup/entry(_:unavailable:)`` makes of a caller.
public enum DistributedEntry<Key: FlightKeyConvertible, Value: Sendable>: Sendable {
    /// The caller leads: it must see to it that the leader is completed.
    case leader(DistributedLeader<Key, Value>)

    /// The caller waits for a flight that runs already, here or elsewhere, or that has an outcome already.
    case subscriber(DistributedSubscriber<Key, Value>)
}

/// The right and the duty to bring one flight to an end, for everybody who waits for it in any process.
///
/// For work that is scheduled by hand. The lease is held, and renewed, as long as the leader lives and has not completed. If its last
/// reference goes away before, the lease is given up at once: everybody here gets ``Cancellation/leaderLeft``, and so does
/// everybody elsewhere, unless the group lets somebody take over (``LeaderLossPolicy/takeOver(attempts:)``), which one of them then
/// does. Nobody hangs.
///
/// The lease can be lost all the same: see ``onLost(_:)`` and ``isCurrent``. Safe to use from any thread. Handlers and waiting
/// callers run outside of all locks.
public final class DistributedLeader<Key: FlightKeyConvertible, Value: Sendable>: Sendable {
    private let core: LeaderCore
    /// What is being computed.
    public let key: Key

    init(_ core: LeaderCore, key: Key) {
        self.core = core
        self.key = key
    }

    /// The flight's token; `nil` without a lease.
    public var token: LeaseToken? { self.core.token }

    /// Whether the leader has neither completed nor ended in another way, and still believes in its lease.
    ///
    /// Once false it stays false. Without a lease nobody else was asked, and it says only that the flight has not ended.
    public var isCurrent: Bool { self.core.isCurrent }

    /// Draws a fence under the lease: greater than every fence drawn under an earlier lease of the key.
    ///
    /// - Throws: as ``Flight/fence()``.
    public func fence() async throws -> Fence {
        try await self.core.fence()
    }

    /// Says how far the work has come; see ``Flight/report(progress:)``.
    public func report(progress: FlightProgress) {
        self.core.report(progress: progress)
    }

    /// Hands in the result, for everybody who waits here and elsewhere.
    ///
    /// Returns false, and does nothing, if the flight has ended before or a result was handed in before. True does not mean that it
    /// stands: that is the store's word, which ``outcome()`` tells. A result that comes after the lease was lost is refused, and
    /// changes nothing for anybody.
    @discardableResult
    public func complete(_ result: Result<Value, any Error>) -> Bool {
        self.core.complete(result.map { ErasedValue($0) })
    }

    /// Ends the flight without a result: everybody who waits, here and elsewhere, gets ``Cancellation/revoked(by:reason:)``
    /// with this process's label. Nobody takes over.
    ///
    /// Returns false, and does nothing, if the flight has ended before or a result was handed in before.
    @discardableResult
    public func cancel(reason: String) -> Bool {
        self.core.cancel(reason: reason)
    }

    /// How the flight ended, as soon as it has: with the result and the store's word on it, or without, because the lease was lost.
    ///
    /// It counts as waiting for the flight. Any number of tasks may ask, each of which can be canceled by itself: it gets
    /// ``Cancellation/callerCanceled``, which changes nothing for the flight.
    nonisolated(nonsending) public func outcome() async -> Outcome<Value> {
        await self.core.outcome().map { try $0.value() }
    }

    /// Subscribes the leader itself to the flight, so that it can wait like everybody else.
    ///
    /// After the flight has ended, it gets the same outcome.
    public func subscribe() -> DistributedSubscriber<Key, Value> {
        DistributedSubscriber(self.core.subscribe(), key: self.key)
    }

    /// How many callers of this process wait for the flight, beside the leader's handle itself.
    public var subscriberCount: Int { self.core.subscriberCount }

    /// Calls `handler`, once, as soon as no result is wanted any more though none was handed in: the lease was lost, or may have been;
    /// the flight was revoked, or ran longer than the group allows; the process shuts down. At once, if it is so already.
    ///
    /// ``outcome()`` tells which it was. The handler is given the leader, and must not hold it: held by its own handler, a leader that
    /// everybody has forgotten would keep its lease. It is dropped unheard when the flight ends otherwise, or the leader goes away.
    public func onLost(_ handler: @escaping @Sendable (DistributedLeader<Key, Value>) -> Void) {
        self.core.onLost { [key] in handler(DistributedLeader($0, key: key)) }
    }

    /// Ends the flight when nobody waits for it any more, here or elsewhere, and calls `handler` then, once.
    ///
    /// Without this the leader itself counts as one that waits. From this call on it does not: subscribe it before if it wants the outcome.
    /// If nobody waits now, the flight ends as soon as the store has confirmed that, and else at once when the last one
    /// leaves; if the news of that is lost, within a renewal interval. Only the first handler is kept; it is dropped unheard
    /// when the flight ends otherwise, or the leader goes away. It is given the leader, and must not hold it: see ``onLost(_:)``.
    public func onAbandoned(_ handler: @escaping @Sendable (DistributedLeader<Key, Value>) -> Void) {
        self.core.onAbandoned { [key] in handler(DistributedLeader($0, key: key)) }
    }

    /// Runs the flight's work, completes the flight with whatever the work returns or throws, and tells how the flight ended:
    /// with the store's word on the result, or without a result, because the lease was lost.
    ///
    /// Inside of the work, asking the same group for the same key is refused: see ``onBehalf(isolation:_:)``.
    @discardableResult
    public func perform(
        isolation: isolated (any Actor)? = #isolation,
        _ work: () async throws -> Value
    ) async -> Outcome<Value> {
        let result: Result<Value, any Error>
        do {
            result = .success(try await self.core.perform(isolation: isolation, work))
        } catch {
            result = .failure(error)
        }
        self.complete(result)
        return await self.outcome()
    }

    /// Runs something on behalf of this flight: inside of it, asking the same group for the same key is refused as a re-entrant
    /// call instead of waiting for itself.
    ///
    /// It binds a task-local value, so it holds for child tasks too. It does not complete the flight.
    public func onBehalf<T: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> T
    ) async rethrows -> T {
        try await self.core.perform(isolation: isolation, body)
    }
}

/// One caller's place in a flight that runs here or elsewhere.
///
/// Counts as waiting for the flight from its creation until the flight ends, it leaves, or it goes away. Safe to use from any thread.
public final class DistributedSubscriber<Key: FlightKeyConvertible, Value: Sendable>: Sendable {
    /// What is being computed.
    public let key: Key

    private let core: SubscriberCore

    init(_ core: SubscriberCore, key: Key) {
        self.core = core
        self.key = key
    }

    /// Waits for the flight's outcome. Never hangs longer than the flight has a leader.
    ///
    /// Any number of tasks may wait, together or one after the other, and all get the same. A task that is canceled gets
    /// ``Cancellation/callerCanceled`` at once, which changes nothing for the others: the subscriber stays until it
    /// leaves or goes away. A waiting task of higher priority raises that of an operation which runs in this process.
    ///
    /// There is no operation to fall back on: where the store cannot be asked how the flight ended, the result is a
    /// ``DistributedGroupError`` of the code ``DistributedGroupError/Code/unavailable``.
    nonisolated(nonsending) public func outcome() async -> Outcome<Value> {
        await self.core.outcome().map { try $0.value() }
    }

    /// How far the work is, beside the outcome; empty where there was no flight to join.
    ///
    /// The sequence and its iterators hold the subscriber: whoever reads waits for the flight.
    public var progress: FlightProgressUpdates { self.core.progress }

    /// Stops waiting: every task that waits for the outcome gets ``Cancellation/left``, also later.
    ///
    /// Does nothing if the flight has ended, or the subscriber has left before.
    public func leave() {
        self.core.leave()
    }
}
