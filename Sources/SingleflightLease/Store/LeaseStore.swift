/// Whatever keeps leases: the seam between the lease layer and Redis, or the in-memory store of the test kit.
///
/// Every request answers by calling `reply` exactly once, whatever happens: with the store's word, or with a
/// ``LeaseStoreError`` within the store's command timeout. A reply may come on any thread, also before the method
/// returns; it must be short. Callbacks instead of `async` functions, because a flight is a chain of small steps: each
/// hop to a task and back would cost more than the step (10 µs of latency measured), and because a simulation can then
/// run the real code in one thread.
///
/// A token is drawn before it is sent. Under it every request is idempotent: after an error that leaves open whether
/// the request was carried out (``LeaseStoreError/mayHaveExecuted``), the same request may be sent again.
public protocol LeaseStore: Sendable {
    /// The clock that the store's waiting times are counted on.
    var clock: any LeaseClock { get }

    /// The time within which every request is answered.
    var commandTimeout: Duration { get }

    /// This process's inbox.
    var inbox: InboxID { get }

    /// A label of this process for people to read: host, process id, role.
    var label: String { get }

    /// Calls `handler` with every announcement about `key` and after every gap in the stream of announcements.
    ///
    /// Announcements may be lost, repeated, or about another flight of the key. The registration holds until it is
    /// canceled; make it before the ``EnterRequest`` whose outcome it is for, since an announcement can overtake the
    /// reply.
    func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration

    /// Carries out a request and answers with a reply of the same kind. What is required and promised stands at each
    /// kind of request.
    func send(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>)
}

/// Receives a store's answer, exactly once.
public typealias ReplyHandler<Reply> = @Sendable (Result<Reply, LeaseStoreError>) -> Void
