/// What a caller gets where the store cannot be asked.
public enum UnavailablePolicy: Hashable, Sendable {
    /// The operation runs in this process without a lease. Callers in this process still share one run of it.
    ///
    /// A store that can be reached and does not let this process in, for a wrong password or a missing right, is a
    /// mistake that does not pass: the caller gets ``DistributedGroupError/Code/refused``.
    case runLocally
    /// As ``runLocally``, also where the store does not let this process in.
    case runLocallyEvenIfRefused
    /// The caller gets ``DistributedGroupError/Code/unavailable``, or ``DistributedGroupError/Code/refused``.
    case fail

    func runsLocally(after error: LeaseStoreError) -> Bool {
        switch self {
        case .runLocally: error.code != .refused
        case .runLocallyEvenIfRefused: true
        case .fail: false
        }
    }
}

/// What a caller that brought an operation gets where the outcome of a flight elsewhere cannot be decoded: it was
/// written by another codec or another version of the program.
public enum UndecodablePolicy: Hashable, Sendable {
    /// The caller gets ``DistributedGroupError/Code/decodingFailed``.
    case fail
    /// The operation runs in this process without a lease, once for all its callers; it has run elsewhere, too. The
    /// completion's coordination is ``Coordination/undecodable``.
    case runLocally
}

/// What becomes of a flight whose lease is gone though its leader lives: the store lost its data, or could not be asked
/// for longer than a lease lasts.
public enum LostLeasePolicy: Hashable, Sendable {
    /// The leader takes another lease, and its operation goes on under that; ``Flight/token`` and fences change with
    /// it. The operation is canceled only if somebody else leads, for whom this process's callers then wait. Followers
    /// whose flight the store lost enter again, three times at most. While the store cannot be asked, the operation
    /// goes on if the group's policy is ``UnavailablePolicy/runLocally``, though ``Flight/isCurrent`` is false; its
    /// callers here get the result, within a command timeout of its end. Under ``UnavailablePolicy/fail`` it is
    /// canceled at its lease's end, and its callers are told that the store cannot be asked.
    ///
    /// Two operations may run at a time: this leader's, and that of the process that took the lease meanwhile.
    case leadAgain
    /// The operation is canceled as soon as its lease is lost, or may be. Everybody is told so.
    case cancel
}

/// Whether a group coalesces, or only looks what that would bring.
public enum CoalescingMode: Hashable, Sendable {
    /// Calls are coalesced.
    case coalesce
    /// Every call runs its own operation and gets what it returns or throws, as if there were no group, and
    /// ``DistributedGroup/observation`` tells how many would have been coalesced. No call waits for the store, or fails
    /// because of it. The store keeps what the group learns under the group's name with `.observe` behind it, so that
    /// processes that observe do not disturb others that coalesce already. So no group's own name can end in
    /// `.observe`.
    case observe
}

/// The durations and rules of a ``DistributedGroup``, in three parts with defaults of their own.
///
/// ```swift
/// DistributedGroupConfiguration(
///     lease: .init(duration: .seconds(5), leaderLoss: .takeOver(attempts: 2)),
///     limits: .init(flight: .seconds(60))
/// )
/// ```
public struct DistributedGroupConfiguration: Sendable {
    /// How leadership is held, and what becomes of it if the leader is lost.
    public struct Lease: Hashable, Sendable {
        /// How long a lease lasts without renewal; it is renewed every third of that. 100 ms to 24 h, and at least
        /// three times the store's command timeout. A leader's death is noticed within this time.
        public var duration: Duration
        /// How long the store remembers an expired lease, so that those who waited learn of it. 100 ms to 24 h.
        public var grace: Duration
        /// What becomes of a flight whose leader is lost.
        public var leaderLoss: LeaderLossPolicy
        /// What becomes of a flight whose lease is gone though its leader lives.
        public var onLost: LostLeasePolicy

        /// Creates the rules of leases.
        public init(
            duration: Duration = .seconds(10),
            grace: Duration = .seconds(10),
            leaderLoss: LeaderLossPolicy = .cancel,
            onLost: LostLeasePolicy = .leadAgain
        ) {
            self.duration = duration
            self.grace = grace
            self.leaderLoss = leaderLoss
            self.onLost = onLost
        }
    }

    /// What is kept and passed on of a flight's result.
    public struct Results: Sendable {
        /// How long an encoded value may be, in bytes; no longer than the store takes, which is checked when a group is
        /// made. An error that is longer in its encoded form is told as a ``RemoteFailure``.
        public var maximumBytes: Int
        /// How long an outcome is kept for processes that missed its announcement. 100 ms to 24 h. Raised if need be to
        /// `lease.duration + min(500 ms, lease.duration / 10) + 2 × commandTimeout`, the longest a follower takes to
        /// ask after every announcement was lost.
        public var retention: Duration
        /// How long after its completion a value is given to callers instead of starting a new flight. Up to 24 h; zero
        /// turns it off.
        public var reuse: Duration
        /// After this part of ``reuse`` a value is computed anew while callers still get the kept one: the first caller
        /// that comes then starts a flight that nobody waits for, one in all processes, with that caller's operation. A
        /// failure keeps the earlier value to its end. More than zero and less than ``reuse``; `nil` for never.
        public var refreshAfter: Duration?
        /// As ``reuse``, for an error that the operation threw. A kept error is not computed anew before its time is over.
        public var reuseFailures: Duration
        /// How errors of known types reach every caller as themselves; all others are told as ``RemoteFailure``, in the
        /// leader's process, too.
        public var typedFailures: TypedFailures?
        /// What callers with an operation get where the outcome of a flight elsewhere cannot be decoded.
        public var undecodable: UndecodablePolicy

        /// Creates the rules of results.
        public init(
            maximumBytes: Int = 8 * 1024 * 1024,
            retention: Duration = .seconds(10),
            reuse: Duration = .zero,
            refreshAfter: Duration? = nil,
            reuseFailures: Duration = .zero,
            typedFailures: TypedFailures? = nil,
            undecodable: UndecodablePolicy = .fail
        ) {
            self.maximumBytes = maximumBytes
            self.retention = retention
            self.reuse = reuse
            self.refreshAfter = refreshAfter
            self.reuseFailures = reuseFailures
            self.typedFailures = typedFailures
            self.undecodable = undecodable
        }
    }

    /// How much a flight may take of what others need, too.
    public struct Limits: Hashable, Sendable {
        /// How long an operation may lead; after that it counts as hung, is canceled, and the flight fails for
        /// everybody.
        public var flight: Duration
        /// How many callers of this process may wait for one key; past it a call fails at once. `nil` for any number.
        public var waitersPerKey: Int?
        /// How often an operation's progress is told to other processes at most: a renewal comes early for it. At least
        /// 100 ms.
        public var progressInterval: Duration

        /// Creates limits.
        public init(
            flight: Duration = .seconds(300),
            waitersPerKey: Int? = nil,
            progressInterval: Duration = .seconds(1)
        ) {
            self.flight = flight
            self.waitersPerKey = waitersPerKey
            self.progressInterval = progressInterval
        }
    }

    /// How leadership is held, and what becomes of it if the leader is lost.
    public var lease: Lease
    /// What is kept and passed on of a flight's result.
    public var results: Results
    /// How much a flight may take of what others need, too.
    public var limits: Limits
    /// What callers get where the store cannot be asked; a call can differ.
    public var unavailable: UnavailablePolicy
    /// Whether the group coalesces, or only looks what that would bring.
    public var mode: CoalescingMode
    /// Told what the group does.
    public var observability: Observability

    /// Creates a configuration; it is checked when a group is made with it.
    public init(
        lease: Lease = .init(),
        results: Results = .init(),
        limits: Limits = .init(),
        unavailable: UnavailablePolicy = .runLocally,
        mode: CoalescingMode = .coalesce,
        observability: Observability = .init()
    ) {
        self.lease = lease
        self.results = results
        self.limits = limits
        self.unavailable = unavailable
        self.mode = mode
        self.observability = observability
    }
}
