import Singleflight
import Synchronization

/// What ``GroupCore/entry(_:unavailable:)`` makes of a caller.
enum EntryCore: Sendable {
    case leader(LeaderCore)
    case subscriber(SubscriberCore)
}

/// What is behind a ``DistributedLeader``, which says what is promised.
final class LeaderCore: Sendable {
    typealias Key = ErasedKey
    typealias Value = ErasedValue

    private let flight: LocalFlight
    private let seat: Subscriber<Key, LocalResolution<Value>>?
    private let isSeated: Atomic<Bool>
    private let caller: LocalCaller
    private let view: Flight<Key>

    init(_ flight: LocalFlight, _ seat: Subscriber<Key, LocalResolution<Value>>?, _ caller: LocalCaller) {
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

    var key: Key { self.flight.key }

    var token: LeaseToken? { self.view.token }

    var isCurrent: Bool { self.flight.isLeading && self.view.isCurrent }

    func fence() async throws -> Fence {
        try await self.view.fence()
    }

    func report(progress: FlightProgress) {
        self.view.report(progress: progress)
    }

    @discardableResult
    func complete(_ result: Result<Value, any Error>) -> Bool {
        self.flight.handIn(result)
    }

    @discardableResult
    func cancel(reason: String) -> Bool {
        self.flight.leaderLeaves(reason: reason)
    }

    nonisolated(nonsending) func outcome() async -> DistributedOutcome<Value> {
        // The handle itself is a caller that waits: one more would make the result look shared.
        let seat = self.isSeated.load(ordering: .relaxed) ? nil : self.flight.subscribe()
        return await SubscriberCore(self.flight, seat, self.caller).outcome()
    }

    func subscribe() -> SubscriberCore {
        SubscriberCore(self.flight, self.flight.subscribe(), self.caller)
    }

    var subscriberCount: Int {
        max(0, self.flight.subscriberCount - (self.isSeated.load(ordering: .relaxed) ? 1 : 0))
    }

    func onLost(_ handler: @escaping @Sendable () -> Void) {
        self.flight.onLost(handler)
    }

    func onAbandoned(_ handler: @escaping @Sendable () -> Void) {
        self.flight.onAbandoned(handler)
        self.isSeated.store(false, ordering: .relaxed)
        self.seat?.leave()
    }

    func perform<T: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ work: () async throws -> T
    ) async rethrows -> T {
        try await self.flight.perform(isolation: isolation, work)
    }
}

/// What is behind a ``DistributedSubscriber``, which says what is promised.
final class SubscriberCore: Sendable {
    typealias Key = ErasedKey
    typealias Value = ErasedValue

    let key: Key

    private let flight: LocalFlight?
    private let seat: Subscriber<Key, LocalResolution<Value>>?
    private let ended = SharedValue<DistributedOutcome<Value>>()
    private let observer: UInt64?
    private let call: CallObserver?

    init(_ flight: LocalFlight, _ seat: Subscriber<Key, LocalResolution<Value>>?, _ caller: LocalCaller) {
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

    nonisolated(nonsending) func outcome() async -> DistributedOutcome<Value> {
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

    var progress: FlightProgressUpdates { FlightProgressUpdates(of: self) }

    func leave() {
        if let flight, let observer {
            flight.forgetObserver(observer)
        }
        Self.settle(self.ended, .canceled(.left), self.call)
        self.seat?.leave()
    }
}

/// Whoever reads of the work's progress holds the subscriber, and so waits for the flight.
extension SubscriberCore: ProgressSource {
    func attach(_ feed: ProgressFeed) {
        guard let flight else { return feed.finish() }
        flight.attach(feed)
    }

    func detach(_ feed: ProgressFeed) {
        self.flight?.detach(feed)
    }
}
