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

/// Whether a group coalesces, or only looks what that would bring.
public enum CoalescingMode: Hashable, Sendable {
    /// Calls are coalesced.
    case coalesce
    /// Every call runs its own operation, as if there were no group, and ``DistributedGroup/observation`` tells how many would have been
    /// coalesced. No call waits for the store, or fails because of it. The store keeps what the group learns under the group's name with
    /// `.observe` behind it, so that processes that observe do not disturb others that coalesce already.
    case observe
}

/// The durations and rules of a ``DistributedGroup``.
public struct DistributedGroupConfiguration: Sendable {
    /// How long a lease lasts without renewal; it is renewed every third of that. 100 ms to 24 h, and at least three times
    /// the store's command timeout. A leader's death is noticed within this time.
    public var leaseDuration: Duration
    /// How long the store remembers an expired lease, so that those who waited learn of it. 100 ms to 24 h.
    public var grace: Duration
    /// How long an outcome is kept for processes that missed its announcement. 100 ms to 24 h. Raised if need be to
    /// `leaseDuration + min(500 ms, leaseDuration / 10) + 2 × commandTimeout`, the longest a follower takes to ask after every
    /// announcement was lost.
    public var retention: Duration
    /// What becomes of a flight whose leader is lost.
    public var leaderLoss: LeaderLossPolicy
    /// What callers get where the store cannot be asked; a call can differ.
    public var unavailable: UnavailablePolicy
    /// How long an operation may lead; after that it counts as hung, is canceled, and the flight fails for everybody.
    public var maximumFlight: Duration
    /// How long an encoded value may be, in bytes; no longer than the store takes, which is checked when a group is
    /// made. An error that is longer in its encoded form crosses as a ``RemoteFailure``.
    public var maximumResultBytes: Int
    /// How long after its completion a value is given to callers instead of starting a new flight. Zero turns it off.
    public var reuse: Duration
    /// The same for an error that the operation threw.
    public var reuseFailures: Duration
    /// How many callers of this process may wait for one key; past it a call fails at once. `nil` for any number.
    public var maximumWaitersPerKey: Int?
    /// How errors of known types cross processes as themselves.
    public var typedFailures: TypedFailures?
    /// Whether the group coalesces, or only looks what that would bring.
    public var mode: CoalescingMode
    /// How often an operation's progress is told to other processes at most: a renewal comes early for it. At least 100 ms.
    public var progressInterval: Duration
    /// Told what the group does.
    public var observability: Observability

    /// Creates a configuration; it is checked when a group is made with it.
    public init(
        leaseDuration: Duration = .seconds(10),
        grace: Duration = .seconds(10),
        retention: Duration = .seconds(10),
        leaderLoss: LeaderLossPolicy = .cancel,
        unavailable: UnavailablePolicy = .runLocally,
        maximumFlight: Duration = .seconds(300),
        maximumResultBytes: Int = 8 * 1024 * 1024,
        reuse: Duration = .zero,
        reuseFailures: Duration = .zero,
        maximumWaitersPerKey: Int? = nil,
        typedFailures: TypedFailures? = nil,
        mode: CoalescingMode = .coalesce,
        progressInterval: Duration = .seconds(1),
        observability: Observability = .init()
    ) {
        self.leaseDuration = leaseDuration
        self.grace = grace
        self.retention = retention
        self.leaderLoss = leaderLoss
        self.unavailable = unavailable
        self.maximumFlight = maximumFlight
        self.maximumResultBytes = maximumResultBytes
        self.reuse = reuse
        self.reuseFailures = reuseFailures
        self.maximumWaitersPerKey = maximumWaitersPerKey
        self.typedFailures = typedFailures
        self.mode = mode
        self.progressInterval = progressInterval
        self.observability = observability
    }

    /// The checked terms of the group's flights.
    func terms(commandTimeout: Duration) throws(DistributedGroupError) -> FlightTerms {
        func check(_ condition: Bool, _ message: @autoclosure () -> String) throws(DistributedGroupError) {
            guard condition else { throw DistributedGroupError(.invalidConfiguration, message()) }
        }
        let range = Duration.milliseconds(100)...Duration.seconds(24 * 3600)
        try check(range.contains(self.leaseDuration), "leaseDuration is \(self.leaseDuration), not 100 ms to 24 h")
        try check(
            self.leaseDuration >= commandTimeout * 3,
            "leaseDuration is \(self.leaseDuration), less than three times the store's command timeout of \(commandTimeout)"
        )
        try check(range.contains(self.grace), "grace is \(self.grace), not 100 ms to 24 h")
        try check(range.contains(self.retention), "retention is \(self.retention), not 100 ms to 24 h")
        try check(self.maximumFlight > .zero, "maximumFlight is \(self.maximumFlight), not positive")
        try check(self.maximumResultBytes > 0, "maximumResultBytes is \(self.maximumResultBytes), not positive")
        let reuseRange = Duration.zero...range.upperBound
        try check(reuseRange.contains(self.reuse), "reuse is \(self.reuse), not 0 to 24 h")
        try check(reuseRange.contains(self.reuseFailures), "reuseFailures is \(self.reuseFailures), not 0 to 24 h")
        try check(
            self.progressInterval >= range.lowerBound,
            "progressInterval is \(self.progressInterval), less than 100 ms"
        )
        if case .takeOver(let attempts) = self.leaderLoss {
            try check((1...999).contains(attempts), "takeOver(attempts: \(attempts)) is not 1 to 999")
        }
        if let maximumWaitersPerKey {
            try check(maximumWaitersPerKey > 0, "maximumWaitersPerKey is \(maximumWaitersPerKey), not positive")
        }
        var terms = FlightTerms(
            lease: LeaseTerms(
                duration: self.leaseDuration,
                grace: self.grace,
                retention: self.retention,
                leaderLoss: self.leaderLoss,
                acceptsReuse: self.reuse > .zero || self.reuseFailures > .zero
            ),
            margin: self.leaseDuration / 20,
            maximumFlight: self.maximumFlight,
            commandTimeout: commandTimeout,
            reuse: self.reuse,
            reuseFailures: self.reuseFailures,
            progressInterval: self.progressInterval
        )
        terms.retain(atLeast: terms.minimumRetention)
        return terms
    }
}
