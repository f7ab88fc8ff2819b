import Singleflight
import Synchronization

/// What ``GroupCore/entry(_:unavailable:)`` makes of a caller.
package enum EntryCore: Sendable {
    case leader(LeaderCore)
    case subscriber(SubscriberCore)

    /// A caller that gets no place in a flight: its outcome is known.
    static func settled(_ outcome: Outcome<ErasedValue>, _ call: GroupCall) -> EntryCore {
        .subscriber(SubscriberCore(settled: outcome, call.observer))
    }
}

/// What is behind a ``DistributedGroup/Leader``, which says what is promised.
package final class LeaderCore: Sendable {
    package let driver: FlightDriver
    private let seat: SeatID
    private let isSeated = Atomic(true)
    private let call: GroupCall
    private let view: Flight<FlightKey>

    init(_ driver: FlightDriver, _ seat: SeatID, _ call: GroupCall) {
        self.driver = driver
        self.seat = seat
        self.call = call.unobserved
        self.view = Flight(key: driver.key, driver: driver)
        if let observer = call.observer {
            _ = driver.onEnd { observer.end(call.outcome(of: $0)) }
        }
    }

    deinit {
        if !Planted.bug("leader-that-goes-away-says-nothing") { self.driver.leaderLeaves() }
        self.driver.leave(self.seat)
    }

    package var token: LeaseToken? { self.view.token }

    package var isCurrent: Bool { self.driver.isWorking && self.view.isCurrent }

    func fence() async throws -> Fence {
        try await self.view.fence()
    }

    package func report(progress: FlightProgress) {
        self.view.report(progress: progress)
    }

    @discardableResult
    package func complete(_ result: Result<ErasedValue, any Error>) -> Bool {
        self.driver.handIn(result)
    }

    @discardableResult
    package func cancel(reason: String) -> Bool {
        self.driver.leaderLeaves(reason: reason)
    }

    func outcome() async -> Outcome<ErasedValue> {
        await self.waiting().outcome()
    }

    /// One task that waits by the handle.
    package func waiting() -> SubscriberCore {
        // The handle itself is a caller that waits: one more would make the result look shared.
        let seat = self.isSeated.load(ordering: .relaxed) ? nil : self.driver.subscribe()
        return SubscriberCore(self.driver, seat, self.call)
    }

    package func subscribe() -> SubscriberCore {
        SubscriberCore(self.driver, self.driver.subscribe(), self.call)
    }

    package var subscriberCount: Int {
        let isSeated = self.isSeated.load(ordering: .relaxed) && !Planted.bug("leader-counted-as-subscriber")
        return max(0, self.driver.callerCount - (isSeated ? 1 : 0))
    }

    // The driver keeps the handlers, and must not keep the leader by them: its going away ends the flight.

    package func onLost(_ handler: @escaping @Sendable (LeaderCore) -> Void) {
        self.driver.onLost { [weak self] in if let self { handler(self) } }
    }

    package func onAbandoned(_ handler: @escaping @Sendable (LeaderCore) -> Void) {
        self.driver.onAbandoned { [weak self] in if let self { handler(self) } }
        self.isSeated.store(false, ordering: .relaxed)
        if !Planted.bug("leader-goes-on-counting-as-waiting") { self.driver.leave(self.seat) }
    }

    func perform<T>(_ work: () async throws -> T) async rethrows -> T {
        try await self.driver.perform(work)
    }
}

/// What is behind a ``DistributedGroup/Subscriber``, which says what is promised.
package final class SubscriberCore: Sendable {
    /// `nil` for a caller that has no place in a flight.
    package let driver: FlightDriver?
    private let seat: SeatID?
    private let ended = SharedValue<Outcome<ErasedValue>>()
    private let handler: UInt64?
    private let observer: CallObserver?

    init(_ driver: FlightDriver, _ seat: SeatID?, _ call: GroupCall) {
        self.driver = driver
        self.seat = seat
        self.observer = call.observer
        let ended = self.ended
        self.handler = driver.onEnd { Self.settle(ended, call.outcome(of: $0), call.observer) }
    }

    init(settled outcome: Outcome<ErasedValue>, _ observer: CallObserver?) {
        self.driver = nil
        self.seat = nil
        self.handler = nil
        self.observer = observer
        Self.settle(self.ended, outcome, observer)
    }

    private static func settle(
        _ ended: SharedValue<Outcome<ErasedValue>>,
        _ outcome: Outcome<ErasedValue>,
        _ observer: CallObserver?
    ) {
        if ended.set(outcome) {
            observer?.end(outcome)
        }
    }

    deinit {
        self.leave()
    }

    func outcome() async -> Outcome<ErasedValue> {
        guard let driver else { return await self.ended.value() ?? .canceled(.callerCanceled) }
        let path = FlightPath.current
        guard !path.isOutside else { return await Self.outcome(self.ended, of: driver) }
        switch driver.context.wait(for: driver.key, on: path) {
        case .success(let wait):
            defer { wait.end() }
            return await self.outcome(of: driver, inside: path)
        case .failure(let error):
            // What is known already is told: nobody waits for it.
            return self.ended.known ?? .canceled(.refused(error))
        }
    }

    /// As ``outcome()``, of a task that is part of other flights' work: it alone is refused if it must not wait.
    private func outcome(of driver: FlightDriver, inside path: FlightPath) async -> Outcome<ErasedValue> {
        guard let enclosed = EnclosedCall(on: path) else { return await Self.outcome(self.ended, of: driver) }
        let own = SharedValue<Outcome<ErasedValue>>()
        self.ended.onValue { own.set($0) }
        driver.watch(enclosed, isStarter: false) {
            if let refusal = enclosed.refusal { own.set(.canceled(.refused(refusal))) }
        }
        defer { driver.forget(enclosed) }
        return await Self.outcome(own, of: driver)
    }

    nonisolated(nonsending) private static func outcome(
        _ ended: SharedValue<Outcome<ErasedValue>>,
        of driver: FlightDriver
    ) async -> Outcome<ErasedValue> {
        driver.raise(to: Task.currentPriority)
        if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
            return await withTaskPriorityEscalationHandler {
                await ended.value() ?? .canceled(.callerCanceled)
            } onPriorityEscalated: { _, priority in
                driver.raise(to: priority)
            }
        }
        return await ended.value() ?? .canceled(.callerCanceled)
    }

    /// Calls `handler` with the outcome as soon as it is known: at once, if it is.
    package func onOutcome(_ handler: @escaping @Sendable (Outcome<ErasedValue>) -> Void) {
        self.ended.onValue(handler)
    }

    var progress: FlightProgressUpdates { FlightProgressUpdates(of: self) }

    package func leave() {
        if let driver, let handler {
            driver.forgetHandler(handler)
        }
        Self.settle(self.ended, .canceled(.left), self.observer)
        if let driver, let seat, !Planted.bug("subscriber-that-left-still-waits") {
            driver.leave(seat)
        }
    }
}

/// A reader of the work's progress holds the subscriber, and so waits for the flight.
extension SubscriberCore: ProgressSource {
    package func attach(_ feed: ProgressFeed) {
        guard let driver else { return feed.finish() }
        driver.attach(feed)
    }

    package func detach(_ feed: ProgressFeed) {
        self.driver?.detach(feed)
    }
}
