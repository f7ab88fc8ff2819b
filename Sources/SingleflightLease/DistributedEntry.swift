import Singleflight
import Synchronization

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
/// reference goes away before, the lease is given up at once: everybody here gets ``DistributedCancellation/leaderLeft``, and so does
/// everybody elsewhere, unless the group lets somebody take over (``LeaderLossPolicy/takeOver(attempts:)``), which one of them then
/// does. Nobody hangs.
///
/// The lease can be lost all the same: see ``onLost(_:)`` and ``isCurrent``. Safe to use from any thread. Handlers and waiting
/// callers run outside of all locks.
public final class DistributedLeader<Key: FlightKeyConvertible, Value: Sendable>: Sendable {
    private let flight: LocalFlight<Key, Value>
    /// Counts the leader as one that waits. Nil for a flight that nobody can join.
    private let seat: Subscriber<Key, LocalResolution<Value>>?
    private let isSeated: Atomic<Bool>
    private let caller: LocalCaller
    private let view: Flight<Key>

    init(_ flight: LocalFlight<Key, Value>, _ seat: Subscriber<Key, LocalResolution<Value>>?, _ caller: LocalCaller) {
        self.flight = flight
        self.seat = seat
        self.isSeated = Atomic(seat != nil)
        self.caller = caller.unobserved
        // It may be lost already: then this view knows nothing but the key, and is never current.
        self.view = flight.flight ?? Flight(key: flight.key)
        if let call = caller.call {
            _ = flight.onEnd { call.end(caller.outcome(of: $0) as DistributedOutcome<Value>) }
        }
    }

    deinit {
        self.flight.leaderLeaves()
        self.seat?.leave()
    }

    /// What is being computed.
    public var key: Key { self.flight.key }

    /// The flight's token; `nil` without a lease.
    public var token: LeaseToken? { self.view.token }

    /// Whether the leader has neither completed nor ended in another way, and still believes in its lease.
    ///
    /// Once false it stays false. Without a lease nobody else was asked, and it says only that the flight has not ended.
    public var isCurrent: Bool { self.flight.isLeading && self.view.isCurrent }

    /// Draws a fence under the lease: greater than every fence drawn under an earlier lease of the key.
    ///
    /// - Throws: as ``Flight/fence()``.
    public func fence() async throws -> Fence {
        try await self.view.fence()
    }

    /// Says how far the work has come; see ``Flight/report(progress:)``.
    public func report(progress: FlightProgress) {
        self.view.report(progress: progress)
    }

    /// Hands in the result, for everybody who waits here and elsewhere.
    ///
    /// Returns false, and does nothing, if the flight has ended before or a result was handed in before. True does not mean that it
    /// stands: that is the store's word, which ``outcome()`` tells. A result that comes after the lease was lost is refused, and
    /// changes nothing for anybody.
    @discardableResult
    public func complete(_ result: Result<Value, any Error>) -> Bool {
        self.flight.handIn(result)
    }

    /// Ends the flight without a result: everybody who waits, here and elsewhere, gets ``DistributedCancellation/revoked(by:reason:)``
    /// with this process's label. Nobody takes over.
    ///
    /// Returns false, and does nothing, if the flight has ended before or a result was handed in before.
    @discardableResult
    public func cancel(reason: String) -> Bool {
        self.flight.leaderLeaves(reason: reason)
    }

    /// How the flight ended, as soon as it has: with the result and the store's word on it, or without, because the lease was lost.
    ///
    /// It counts as waiting for the flight. Any number of tasks may ask, each of which can be canceled by itself: it gets
    /// ``DistributedCancellation/callerCancelled``, which changes nothing for the flight.
    public func outcome() async -> DistributedOutcome<Value> {
        // The handle itself is a caller that waits: one more would make the result look shared.
        let seat = self.isSeated.load(ordering: .relaxed) ? nil : self.flight.subscribe()
        return await DistributedSubscriber(self.flight, seat, self.caller).outcome()
    }

    /// Subscribes the leader itself to the flight, so that it can wait like everybody else.
    ///
    /// After the flight has ended, it gets the same outcome.
    public func subscribe() -> DistributedSubscriber<Key, Value> {
        DistributedSubscriber(self.flight, self.flight.subscribe(), self.caller)
    }

    /// How many callers of this process wait for the flight, beside the leader's handle itself.
    public var subscriberCount: Int {
        max(0, self.flight.subscriberCount - (self.isSeated.load(ordering: .relaxed) ? 1 : 0))
    }

    /// Calls `handler`, once, as soon as no result is wanted any more though none was handed in: the lease was lost, or may have been;
    /// the flight was revoked, or ran longer than the group allows; the process shuts down. At once, if it is so already.
    ///
    /// ``outcome()`` tells which it was. The handler may hold the leader; it is dropped unheard when the flight ends otherwise.
    public func onLost(_ handler: @escaping @Sendable () -> Void) {
        self.flight.onLost(handler)
    }

    /// Ends the flight when nobody waits for it any more, here or elsewhere, and calls `handler` then, once.
    ///
    /// Without this the leader itself counts as one that waits. From this call on it does not: subscribe it before if it wants the outcome.
    /// If nobody waits now, the flight ends as soon as the store has confirmed that, and else at once when the last one
    /// leaves; if the news of that is lost, within a renewal interval. Only the first handler is kept; it is dropped unheard
    /// when the flight ends otherwise. It may hold the leader.
    public func onAbandoned(_ handler: @escaping @Sendable () -> Void) {
        self.flight.onAbandoned(handler)
        self.isSeated.store(false, ordering: .relaxed)
        self.seat?.leave()
    }

    /// Runs work on behalf of this flight: inside of it, asking the same group for the same key is refused as a re-entrant call instead of
    /// waiting for itself.
    ///
    /// It binds a task-local value, so it holds for child tasks too. It does not complete the flight.
    public func perform<T: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ work: () async throws -> T
    ) async rethrows -> T {
        try await self.flight.perform(isolation: isolation, work)
    }
}

/// One caller's place in a flight that runs here or elsewhere.
///
/// Counts as waiting for the flight from its creation until the flight ends, it leaves, or it goes away. Safe to use from any thread.
public final class DistributedSubscriber<Key: FlightKeyConvertible, Value: Sendable>: Sendable {
    /// What is being computed.
    public let key: Key

    private let flight: LocalFlight<Key, Value>?
    private let seat: Subscriber<Key, LocalResolution<Value>>?
    private let ended = SharedValue<DistributedOutcome<Value>>()
    private let observer: UInt64?
    private let call: CallObserver?

    init(_ flight: LocalFlight<Key, Value>, _ seat: Subscriber<Key, LocalResolution<Value>>?, _ caller: LocalCaller) {
        self.key = flight.key
        self.flight = flight
        self.seat = seat
        self.call = caller.call
        let ended = self.ended
        self.observer = flight.onEnd { Self.settle(ended, caller.outcome(of: $0), caller.call) }
    }

    init(key: Key, settled outcome: DistributedOutcome<Value>, _ call: CallObserver?) {
        self.key = key
        self.flight = nil
        self.seat = nil
        self.observer = nil
        self.call = call
        Self.settle(self.ended, outcome, call)
    }

    private static func settle(
        _ ended: SharedValue<DistributedOutcome<Value>>,
        _ outcome: DistributedOutcome<Value>,
        _ call: CallObserver?
    ) {
        if ended.set(outcome) {
            call?.end(outcome)
        }
    }

    deinit {
        self.leave()
    }

    /// Waits for the flight's outcome. Never hangs longer than the flight has a leader.
    ///
    /// Any number of tasks may wait, together or one after the other, and all get the same. A task that is canceled gets
    /// ``DistributedCancellation/callerCancelled`` at once, which changes nothing for the others: the subscriber stays until it
    /// leaves or goes away. A waiting task of higher priority raises that of an operation which runs in this process.
    ///
    /// There is no operation to fall back on: where the store cannot be asked how the flight ended, the result is a
    /// ``DistributedGroupError`` of the code ``DistributedGroupError/Code/unavailable``.
    public func outcome() async -> DistributedOutcome<Value> {
        guard let flight else { return await self.ended.value() ?? .canceled(.callerCancelled) }
        flight.raise(to: Task.currentPriority)
        if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
            return await withTaskPriorityEscalationHandler {
                await self.ended.value() ?? .canceled(.callerCancelled)
            } onPriorityEscalated: { _, priority in
                flight.raise(to: priority)
            }
        }
        return await self.ended.value() ?? .canceled(.callerCancelled)
    }

    /// How far the work is, beside the outcome; empty where there was no flight to join.
    ///
    /// The sequence and its iterators hold the subscriber: whoever reads waits for the flight.
    public var progress: FlightProgressUpdates {
        FlightProgressUpdates(of: SubscriberProgress(subscriber: self))
    }

    fileprivate func attach(_ feed: ProgressFeed) {
        guard let flight else { return feed.finish() }
        flight.attach(feed)
    }

    fileprivate func detach(_ feed: ProgressFeed) {
        self.flight?.detach(feed)
    }

    /// Stops waiting: every task that waits for the outcome gets ``DistributedCancellation/left``, also later.
    ///
    /// Does nothing if the flight has ended, or the subscriber has left before.
    public func leave() {
        if let flight, let observer {
            flight.forgetObserver(observer)
        }
        Self.settle(self.ended, .canceled(.left), self.call)
        self.seat?.leave()
    }
}

/// A subscriber's flight, for which the subscriber waits as long as somebody holds this.
private struct SubscriberProgress<Key: FlightKeyConvertible, Value: Sendable>: ProgressSource {
    let subscriber: DistributedSubscriber<Key, Value>

    func attach(_ feed: ProgressFeed) {
        self.subscriber.attach(feed)
    }

    func detach(_ feed: ProgressFeed) {
        self.subscriber.detach(feed)
    }
}
