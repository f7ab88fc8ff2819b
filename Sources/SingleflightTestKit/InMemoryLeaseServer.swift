public import SingleflightLease
import Synchronization

/// The server side of the in-memory store: what several "processes" of a test share.
public final class InMemoryLeaseServer: Sendable {
    private struct State {
        var model = LeaseModel()
        var routers: [InboxID: InboxRouter<FlightKey>] = [:]
        var dropsAnnouncements = false
        var watchers: [FlightKey: ConditionWaiters<LeaseInspection>] = [:]

        mutating func takeSatisfied(now: LeaseInstant) -> [ConditionWaiters<LeaseInspection>.Satisfied] {
            guard !self.watchers.isEmpty else { return [] }
            var satisfied: [ConditionWaiters<LeaseInspection>.Satisfied] = []
            for key in self.watchers.keys {
                let inspection = self.model.inspect(key, now: now)
                if let those = self.watchers[key]?.takeSatisfied(by: inspection) {
                    satisfied.append(those)
                }
            }
            self.watchers = self.watchers.filter { !$0.value.isEmpty }
            return satisfied
        }
    }

    /// The one clock of the server and of every process.
    public let clock: any LeaseClock
    private let state = Mutex(State())

    /// Creates an empty server.
    ///
    /// - Parameter clock: a clock that goes on by itself, so that waiting for a lost request or a lost leader comes to
    ///   an end; a ``ManualLeaseClock`` for a test that moves the time by hand.
    public init(clock: any LeaseClock = LiveLeaseClock()) {
        self.clock = clock
    }

    /// Whether announcements get lost from now on.
    public var dropsAnnouncements: Bool {
        get { self.state.withLock { $0.dropsAnnouncements } }
        set { self.state.withLock { $0.dropsAnnouncements = newValue } }
    }

    /// Whether nothing is left: no lease, no waiter, no outcome.
    public var isEmpty: Bool {
        self.state.withLock { $0.model.isEmpty(now: self.clock.now) }
    }

    /// Nobody listens to this inbox any more: its process has died.
    func silence(_ inbox: InboxID) {
        self.state.withLock { state in
            state.routers[inbox] = nil
            state.model.setHeard(inbox, false)
        }
    }

    /// Loses everything, as a server does that restarts without persistence.
    public func loseEverything() {
        self.state.withLock { $0.model.removeAll() }
    }

    /// Loses the parts of a key's streams, as a server does that evicts a key.
    public func loseChunks(of key: FlightKey) {
        self.state.withLock { $0.model.removeChunks(of: key) }
    }

    /// Waits until exactly `count` processes are registered as waiters of `key`'s flight.
    ///
    /// The condition is looked at after each request, not when time passes.
    public func untilWaiters(of key: FlightKey, _ count: Int) async {
        await self.until(key) { $0.waiters.count == count }
    }

    /// Waits until somebody holds a lease of `key`, or until nobody does.
    public func untilLease(of key: FlightKey, isHeld: Bool) async {
        await self.until(key) { ($0.lease != nil) == isHeld }
    }

    private func until(_ key: FlightKey, _ condition: @escaping @Sendable (LeaseInspection) -> Bool) async {
        await withCancelableContinuation { continuation in
            let satisfied = self.state.withLock { state in
                state.watchers[key, default: ConditionWaiters()].add(continuation, until: condition)
                return state.takeSatisfied(now: self.clock.now)
            }
            for those in satisfied {
                those.resume()
            }
        }
    }

    func connect(_ inbox: InboxID, _ router: InboxRouter<FlightKey>) {
        self.state.withLock { $0.routers[inbox] = router }
    }

    /// Carries out a request; the announcements that it makes are delivered before its reply, the harder order for a
    /// caller. A test that waits for what it does is told after the reply.
    func perform(
        _ request: LeaseRequest,
        inbox: InboxID,
        notAfter: LeaseInstant?,
        isAwaited: Bool,
        reply tell: (LeaseReply) -> Void
    ) {
        let (reply, deliveries, satisfied) = self.state.withLock { state in
            let reply = state.model.perform(
                request,
                inbox: inbox,
                now: self.clock.now,
                notAfter: notAfter,
                isAwaited: isAwaited
            )
            let made = state.model.takeDeliveries().compactMap { delivery in
                state.routers[delivery.inbox].map { (router: $0, delivery: delivery) }
            }
            return (reply, state.dropsAnnouncements ? [] : made, state.takeSatisfied(now: self.clock.now))
        }
        for (router, delivery) in deliveries {
            router.deliver(.announced(delivery.announcement), for: delivery.key)
        }
        tell(reply)
        for those in satisfied {
            those.resume()
        }
    }
}
