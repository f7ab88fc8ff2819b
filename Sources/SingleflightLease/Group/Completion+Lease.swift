public import Singleflight

/// Where a result comes from.
public enum ResultSource: Hashable, Sendable {
    /// An operation that ran in this process.
    case thisProcess
    /// An operation that ran in another process while this one waited.
    case remote
    /// A flight that was over when this caller came, within the group's reuse time.
    case reused
}

/// Whether the store had its part in a flight.
public enum Coordination: Hashable, Sendable {
    /// The store granted the lease and accepted or gave the result.
    case coordinated
    /// The store could not be asked: the operation may have run elsewhere, too.
    case degraded
    /// The flight's outcome could not be decoded here, and the operation ran in this process, too. See
    /// ``UndecodablePolicy/runLocally``.
    case undecodable
    /// The group only observes: the operation ran for this caller alone. See ``CoalescingMode/observe``.
    case observed
}

/// What a distributed group's completion tells beside its result.
final class LeaseDetails: Sendable {
    let source: ResultSource
    let token: LeaseToken?
    let leader: String?
    let waited: Duration
    let attempts: Int
    let coordination: Coordination

    init(
        source: ResultSource,
        token: LeaseToken?,
        leader: String?,
        waited: Duration,
        attempts: Int,
        coordination: Coordination
    ) {
        self.source = source
        self.token = token
        self.leader = leader
        self.waited = waited
        self.attempts = attempts
        self.coordination = coordination
    }
}

extension Completion {
    /// Makes a completion of a flight across processes, as a distributed group does.
    public init(
        result: Result<Value, any Error>,
        isShared: Bool,
        role: Role,
        source: ResultSource,
        token: LeaseToken?,
        leader: String?,
        waited: Duration,
        attempts: Int,
        coordination: Coordination
    ) {
        let details = LeaseDetails(
            source: source,
            token: token,
            leader: leader,
            waited: waited,
            attempts: attempts,
            coordination: coordination
        )
        self.init(result: result, isShared: isShared, role: role, details: details)
    }

    private var lease: LeaseDetails? { self.details as? LeaseDetails }

    /// Where the result comes from; this process, for a local group.
    public var source: ResultSource { self.lease?.source ?? .thisProcess }

    /// The flight, if it had a lease.
    public var token: LeaseToken? { self.lease?.token }

    /// The label of the process that led, if it is known.
    public var leader: String? { self.lease?.leader }

    /// How long this caller waited, from its call to the result; zero for a local group, which does not measure it.
    public var waited: Duration { self.lease?.waited ?? .zero }

    /// How many leaders the flight had, as far as this process knows.
    public var attempts: Int { self.lease?.attempts ?? 1 }

    /// Whether the store had its part in it; ``Coordination/degraded`` for a local group, which has none.
    public var coordination: Coordination { self.lease?.coordination ?? .degraded }
}

extension Cancellation {
    /// The reason that the store keeps of a flight's end.
    init(_ reason: CanceledFlight) {
        switch reason {
        case .leaseExpired: self = .leaseExpired
        case .supersededTooOften: self = .supersededTooOften
        case .leaderShutDown: self = .leaderShutDown
        case .leaderLeft: self = .leaderLeft
        case .revoked(let by, let reason): self = .revoked(by: by, reason: reason)
        }
    }
}
