public import SingleflightLease
import Synchronization

/// The server side of the in-memory store: what several "processes" of a test share.
public final class InMemoryLeaseServer: Sendable {
    private struct State {
        var model = LeaseModel()
        var routers: [InboxID: InboxRouter<FlightKey>] = [:]
        var dropsAnnouncements = false
    }

    /// The one clock of the server and of every process.
    public let clock: ManualLeaseClock
    private let state = Mutex(State())

    /// Creates an empty server.
    public init(clock: ManualLeaseClock = ManualLeaseClock()) {
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

    /// Loses everything, as a server does that restarts without persistence.
    public func loseEverything() {
        self.state.withLock { $0.model.removeAll() }
    }

    func connect(_ inbox: InboxID, _ router: InboxRouter<FlightKey>) {
        self.state.withLock { $0.routers[inbox] = router }
    }

    /// Carries out a request; the announcements that it makes are delivered before its reply, the harder order for a caller.
    func perform<Reply: Sendable>(_ request: (inout LeaseModel, LeaseInstant) -> Reply) -> Reply {
        let (reply, deliveries) = self.state.withLock { state in
            let reply = request(&state.model, self.clock.now)
            let made = state.model.takeDeliveries().compactMap { delivery in
                state.routers[delivery.inbox].map { (router: $0, delivery: delivery) }
            }
            return (reply, state.dropsAnnouncements ? [] : made)
        }
        for (router, delivery) in deliveries {
            router.deliver(.announced(delivery.announcement), for: delivery.key)
        }
        return reply
    }
}

/// A lease store in memory: one process's view of an ``InMemoryLeaseServer``. Requests are answered before they return.
public final class InMemoryLeaseStore: LeaseStore {
    /// A request's name, for ``onRequest(_:)``.
    public enum Operation: String, Sendable, CaseIterable {
        /// The requests of `LeaseStore`.
        case enter, renew, complete, release, poll, leave, fence, revoke, inspect
    }

    /// What goes wrong with a request.
    public enum Fault: Sendable {
        /// Nothing.
        case none
        /// It fails, and does not reach the server.
        case requestLost(LeaseStoreError)
        /// It is carried out, and the reply is lost.
        case replyLost(LeaseStoreError)
    }

    private let server: InMemoryLeaseServer
    private let router = InboxRouter<FlightKey>()
    private let fault = Mutex<@Sendable (Operation) -> Fault>({ _ in .none })

    /// The server's clock.
    public var clock: any LeaseClock { self.server.clock }
    /// The time within which a request counts as answered; 100 ms unless chosen otherwise.
    public let commandTimeout: Duration
    /// This process's inbox.
    public let inbox: InboxID
    /// This process's label.
    public let label: String

    /// Creates the view of one more process.
    public init(server: InMemoryLeaseServer, label: String = "memory", commandTimeout: Duration = .milliseconds(100)) {
        var generator = SystemRandomNumberGenerator()
        self.server = server
        self.label = label
        self.commandTimeout = commandTimeout
        self.inbox = InboxID(using: &generator)
        server.connect(self.inbox, self.router)
    }

    /// Decides, for each request from now on, what goes wrong with it.
    public func onRequest(_ fault: @escaping @Sendable (Operation) -> Fault) {
        self.fault.withLock { $0 = fault }
    }

    /// Tells this process's flights that announcements may have been missed.
    public func resumeInbox() {
        self.router.deliverToAll(.resumed)
    }

    /// Tells this process's flights to hand back their leases.
    public func shutDown() {
        self.router.deliverToAll(.shuttingDown)
    }

    /// The number of keys that flights of this process listen for.
    public var listeningKeyCount: Int { self.router.keyCount }

    /// Registers a listener.
    public func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        self.router.listen(for: key, handler)
    }

    /// See `LeaseStore`.
    public func enter(_ request: EnterRequest, reply: @escaping LeaseReply<EnterReply>) {
        self.perform(.enter, reply) { model, now in model.enter(request, inbox: self.inbox, now: now) }
    }

    /// See `LeaseStore`.
    public func renew(_ request: RenewRequest, reply: @escaping LeaseReply<RenewReply>) {
        self.perform(.renew, reply) { model, now in model.renew(request, now: now) }
    }

    /// See `LeaseStore`.
    public func complete(_ request: CompleteRequest, reply: @escaping LeaseReply<CompleteReply>) {
        self.perform(.complete, reply) { model, now in model.complete(request, now: now) }
    }

    /// See `LeaseStore`.
    public func release(_ request: ReleaseRequest, reply: @escaping LeaseReply<ReleaseReply>) {
        self.perform(.release, reply) { model, now in model.release(request, now: now) }
    }

    /// See `LeaseStore`.
    public func poll(_ request: PollRequest, reply: @escaping LeaseReply<PollReply>) {
        self.perform(.poll, reply) { model, now in model.poll(request, inbox: self.inbox, now: now) }
    }

    /// See `LeaseStore`.
    public func leave(_ key: FlightKey, token: LeaseToken, reply: @escaping LeaseReply<LeaveReply>) {
        guard self.router.listenerCount(for: key) == 0 else {
            return reply(.success(LeaveReply(waiters: 1)))
        }
        self.perform(.leave, reply) { model, now in model.leave(key, token: token, inbox: self.inbox, now: now) }
    }

    /// See `LeaseStore`.
    public func fence(_ key: FlightKey, token: LeaseToken, reply: @escaping LeaseReply<FenceReply>) {
        self.perform(.fence, reply) { model, now in model.fence(key, token: token, now: now) }
    }

    /// See `LeaseStore`.
    public func revoke(_ request: RevokeRequest, reply: @escaping LeaseReply<RevokeReply>) {
        self.perform(.revoke, reply) { model, now in model.revoke(request, now: now) }
    }

    /// See `LeaseStore`.
    public func inspect(_ key: FlightKey, reply: @escaping LeaseReply<LeaseInspection>) {
        self.perform(.inspect, reply) { model, now in model.inspect(key, now: now) }
    }

    private func perform<Reply: Sendable>(
        _ operation: Operation,
        _ reply: LeaseReply<Reply>,
        _ request: (inout LeaseModel, LeaseInstant) -> Reply
    ) {
        switch self.fault.withLock({ $0 })(operation) {
        case .none:
            reply(.success(self.server.perform(request)))
        case .requestLost(let error):
            reply(.failure(error))
        case .replyLost(let error):
            _ = self.server.perform(request)
            reply(.failure(error))
        }
    }
}
