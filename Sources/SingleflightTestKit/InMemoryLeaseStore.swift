public import SingleflightLease
import Synchronization

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
        /// It is carried out once the gate opens.
        case requestHeld(RequestGate)
        /// It is carried out, and the reply comes once the gate opens.
        case replyHeld(RequestGate)
    }

    private let server: InMemoryLeaseServer
    private let router: InboxRouter<FlightKey>
    private let idleWaiters: IdleWaiters
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
        let idleWaiters = IdleWaiters()
        self.idleWaiters = idleWaiters
        self.router = InboxRouter(onEmpty: { idleWaiters.idle() })
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

    /// Waits until no flight of this process listens: none is under way, and none has a timer or sends requests.
    public func untilIdle() async {
        await self.idleWaiters.wait { self.router.keyCount }
    }

    /// Registers a listener.
    public func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        self.router.listen(for: key, handler)
    }

    /// See `LeaseStore`.
    public func enter(_ request: EnterRequest, reply: @escaping LeaseReply<EnterReply>) {
        // The server's clock is the process's own.
        let notAfter = self.clock.now.advanced(by: request.validity)
        self.perform(.enter, reply) { model, now in
            model.enter(request, inbox: self.inbox, now: now, notAfter: notAfter)
        }
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
        guard self.router.waitingCount(for: key) == 0 else {
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
        _ reply: @escaping LeaseReply<Reply>,
        _ request: @escaping @Sendable (inout LeaseModel, LeaseInstant) -> Reply
    ) {
        switch self.fault.withLock({ $0 })(operation) {
        case .none:
            reply(.success(self.server.perform(request)))
        case .requestLost(let error):
            reply(.failure(error))
        case .replyLost(let error):
            _ = self.server.perform(request)
            reply(.failure(error))
        case .requestHeld(let gate):
            gate.hold { reply(.success(self.server.perform(request))) }
        case .replyHeld(let gate):
            let answer = self.server.perform(request)
            gate.hold { reply(.success(answer)) }
        }
    }
}

/// Those who wait until a process has no flights.
private final class IdleWaiters: Sendable {
    private let waiters = Mutex(ConditionWaiters<Int>())

    func idle() {
        self.waiters.withLock { $0.takeSatisfied(by: 0) }.resume()
    }

    /// - Parameter flights: the number of keys that are listened for; it is asked under the lock that ``idle()`` takes.
    func wait(_ flights: () -> Int) async {
        await withCancelableContinuation { continuation in
            let satisfied = self.waiters.withLock { waiters in
                waiters.add(continuation) { $0 == 0 }
                return waiters.takeSatisfied(by: flights())
            }
            satisfied.resume()
        }
    }
}
