/// A lease's times and rules, as the store needs them.
public struct LeaseTerms: Hashable, Sendable {
    /// How long a lease lasts without renewal.
    public var duration: Duration
    /// How long the store remembers an expired lease, so that those who waited learn of it.
    public var grace: Duration
    /// How long an outcome is kept for those who ask for it; the first leader's, for the whole flight.
    public var retention: Duration
    /// What becomes of a flight whose leader is lost; the first leader's, for the whole flight.
    public var leaderLoss: LeaderLossPolicy
    /// Whether the outcome of an earlier flight is wanted, as long as it was completed as reusable.
    public var acceptsReuse: Bool

    /// Creates terms.
    public init(
        duration: Duration,
        grace: Duration,
        retention: Duration,
        leaderLoss: LeaderLossPolicy,
        acceptsReuse: Bool = false
    ) {
        self.duration = duration
        self.grace = grace
        self.retention = retention
        self.leaderLoss = leaderLoss
        self.acceptsReuse = acceptsReuse
    }
}

/// What becomes of a flight whose leader's lease lapses without an outcome.
public enum LeaderLossPolicy: Hashable, Sendable {
    /// The flight ends as `canceled` for everybody who waits.
    case cancel
    /// Exactly one waiting process leads on under a new lease, the others keep waiting; at most `attempts` times for
    /// one flight, after that it ends as `canceled`.
    case takeOver(attempts: Int)
}

/// What a lease tells people who inspect it; no decision depends on it.
public struct LeaseNote: Hashable, Sendable {
    /// The leader's process.
    public var label: String
    /// How long this process has led by its own clock.
    public var age: Duration
    /// How many times the lease was renewed.
    public var renewals: Int
    /// What the operation says of its progress.
    public var progress: FlightProgress?
    /// The leader's span, if it has one.
    public var trace: TraceContext?

    /// Creates a note.
    public init(
        label: String,
        age: Duration = .zero,
        renewals: Int = 0,
        progress: FlightProgress? = nil,
        trace: TraceContext? = nil
    ) {
        self.label = label
        self.age = age
        self.renewals = renewals
        self.progress = progress
        self.trace = trace
    }
}
