/// What a store holds about a key.
public struct LeaseInspection: Hashable, Sendable {
    /// A lease that somebody holds, or held when it ran out.
    public struct Lease: Hashable, Sendable {
        /// The token that names the flight.
        public var token: LeaseToken
        /// The leader's inbox.
        public var inbox: InboxID
        /// The lease's duration.
        public var duration: Duration
        /// The time until it runs out; zero or less once it has.
        public var remaining: Duration
        /// The number of takeovers of the flight so far.
        public var attempt: Int
        /// What the leader says about itself. The age is as of now, as far as the leader's and the reader's wall clocks
        /// agree.
        public var note: LeaseNote

        /// Creates a lease's description.
        public init(
            token: LeaseToken,
            inbox: InboxID,
            duration: Duration,
            remaining: Duration,
            attempt: Int,
            note: LeaseNote
        ) {
            self.token = token
            self.inbox = inbox
            self.duration = duration
            self.remaining = remaining
            self.attempt = attempt
            self.note = note
        }

        /// Whether the lease has run out, and nobody has noticed yet.
        public var isExpired: Bool { self.remaining <= .zero }
    }

    /// The lease, if there is one.
    public var lease: Lease?
    /// The processes that wait.
    public var waiters: [InboxID]

    /// Creates an inspection.
    public init(lease: Lease?, waiters: [InboxID]) {
        self.lease = lease
        self.waiters = waiters
    }
}
