public import SingleflightLease
import Synchronization

/// A lease store in memory: one process's view of an ``InMemoryLeaseServer``. Requests are answered before they return.
public final class InMemoryLeaseStore: LeaseStore {
    /// A request's kind, for ``onRequest(_:)``.
    public typealias Operation = LeaseRequest.Kind

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

    /// Tells this process's flights that the inbox is not connected any more.
    public func interruptInbox() {
        self.router.deliverToAll(.interrupted)
    }

    /// Tells this process's flights that announcements may have been missed.
    public func resumeInbox() {
        self.router.deliverToAll(.resumed)
    }

    /// The process dies without a word: the server finds that nobody listens to its inbox any more.
    public func die() {
        self.server.silence(self.inbox)
    }

    /// Tells this process's flights to hand back their leases; those that begin later end at once.
    public func shutDown() {
        self.router.close()
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

    /// Carries out a request before it returns, unless ``onRequest(_:)`` has it go wrong.
    public func send(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        // Registration is per process: as long as another flight of this process waits for the key, it stays.
        let ownWaiters = if case .enter(let request) = request { request.ownWaiters } else { 0 }
        let isAwaited = self.router.waitingCount(for: request.key) > ownWaiters
        if case .leave = request, isAwaited {
            return reply(.success(.leave(LeaveReply(waiters: 1))))
        }
        // The server's clock is the process's own.
        let validity: Duration? = if case .enter(let request) = request { request.validity } else { nil }
        let notAfter = validity.map { self.clock.now.advanced(by: $0) }
        let (server, inbox) = (self.server, self.inbox)
        let perform = { @Sendable (tell: (LeaseReply) -> Void) in
            server.perform(request, inbox: inbox, notAfter: notAfter, isAwaited: isAwaited, reply: tell)
        }
        switch self.fault.withLock({ $0 })(request.kind) {
        case .none:
            perform { reply(.success($0)) }
        case .requestLost(let error):
            reply(.failure(error))
        case .replyLost(let error):
            perform { _ in reply(.failure(error)) }
        case .requestHeld(let gate):
            gate.hold { perform { reply(.success($0)) } }
        case .replyHeld(let gate):
            perform { answer in gate.hold { reply(.success(answer)) } }
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
