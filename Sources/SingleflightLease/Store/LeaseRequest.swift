/// Whatever a process asks of a ``LeaseStore``, as a value.
///
/// A store carries requests out; what stands between a flight and its store (a recorder, a simulation, a fault) needs
/// to know nothing of them but this type. Each request says what it requires and promises.
public enum LeaseRequest: Sendable {
    /// Asks to lead the flight of a key.
    case enter(EnterRequest)
    /// Prolongs a lease.
    case renew(RenewRequest)
    /// Ends a flight with the result of its operation.
    case complete(CompleteRequest)
    /// Gives up a lease without a result.
    case release(ReleaseRequest)
    /// Asks how a flight stands.
    case poll(PollRequest)
    /// Takes this process off a flight's waiters.
    case leave(LeaveRequest)
    /// Draws a fence.
    case fence(FenceRequest)
    /// Ends somebody's flight from outside.
    case revoke(RevokeRequest)
    /// Reads what the store holds about a key.
    case inspect(InspectRequest)

    /// The kinds of requests, by their names.
    public enum Kind: String, Sendable, CaseIterable {
        /// One for each case of ``LeaseRequest``.
        case enter, renew, complete, release, poll, leave, fence, revoke, inspect
    }

    /// The request's kind.
    public var kind: Kind {
        switch self {
        case .enter: .enter
        case .renew: .renew
        case .complete: .complete
        case .release: .release
        case .poll: .poll
        case .leave: .leave
        case .fence: .fence
        case .revoke: .revoke
        case .inspect: .inspect
        }
    }

    /// The key that the request is about.
    public var key: FlightKey {
        switch self {
        case .enter(let request): request.key
        case .renew(let request): request.key
        case .complete(let request): request.key
        case .release(let request): request.key
        case .poll(let request): request.key
        case .leave(let request): request.key
        case .fence(let request): request.key
        case .revoke(let request): request.key
        case .inspect(let request): request.key
        }
    }
}

/// A request to lead.
///
/// Postcondition of `.lead`: the lease is held under the request's token for its duration, counted from the sending of
/// the request; of `.follow`: this process's inbox is registered on the flight that is named. An expired lease is,
/// according to the request's policy, taken over under the new token with its waiters, or ended as `canceled` for all
/// of them; of several requests at once one leads.
///
/// A request that comes to the store later than its validity allows is answered `.late` and changes nothing, as far as
/// the store can tell; one that is in time never is, however far clocks are apart. A free lease may be taken by a step
/// that cannot tell: the sender of a request to lead that was given up releases its token, until the lease's time is
/// over.
public struct EnterRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The token under which to lead; the same in every repetition of the request.
    public var token: LeaseToken
    /// The lease's terms.
    public var terms: LeaseTerms
    /// What the lease tells people who inspect it.
    public var note: LeaseNote
    /// How long after its sending the request may still be carried out by a store that can tell.
    public var validity: Duration
    /// Whether the request was sent before and may have been carried out: then the flight of its token may have begun,
    /// and even have ended, which the store must look up.
    public var isRepetition: Bool

    /// Creates a request.
    public init(
        key: FlightKey,
        token: LeaseToken,
        terms: LeaseTerms,
        note: LeaseNote,
        validity: Duration,
        isRepetition: Bool = false
    ) {
        self.key = key
        self.token = token
        self.terms = terms
        self.note = note
        self.validity = validity
        self.isRepetition = isRepetition
    }

    /// Whether a free lease may be taken at once: no earlier flight can have an outcome that matters to the request.
    package var takesFreeLease: Bool { !self.isRepetition && !self.terms.acceptsReuse }
}

/// A request to prolong a lease.
///
/// The lease lasts for its duration again, counted from the sending of the request. Precondition for `.renewed`: it is
/// held under the token and has not expired, not even unnoticed. The store announces `news` to the waiters, unless
/// there are too many for one script.
public struct RenewRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The token under which the lease is held.
    public var token: LeaseToken
    /// The lease's terms.
    public var terms: LeaseTerms
    /// How many takeovers of the flight there were, as `enter` answered.
    public var attempt: Int
    /// What the lease tells people who inspect it from now on.
    public var note: LeaseNote
    /// Progress to tell those who wait; `nil` where there is nothing new.
    public var news: FlightProgress?

    /// Creates a request.
    public init(
        key: FlightKey,
        token: LeaseToken,
        terms: LeaseTerms,
        attempt: Int,
        note: LeaseNote,
        news: FlightProgress? = nil
    ) {
        self.key = key
        self.token = token
        self.terms = terms
        self.attempt = attempt
        self.note = note
        self.news = news
    }
}

/// A request to end a flight with a result.
///
/// It is accepted while the lease is held under the token, even past its expiry as long as nobody noticed. An accepted
/// outcome is stored under the token before it is announced; a refused one changes nothing.
public struct CompleteRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The token under which the lease is held.
    public var token: LeaseToken
    /// The result.
    public var outcome: StoredOutcome
    /// How long the outcome is kept for those who ask for it.
    public var retention: Duration
    /// How long those who enter get this outcome instead of a new flight; zero for not at all.
    public var reuse: Duration

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken, outcome: StoredOutcome, retention: Duration, reuse: Duration = .zero)
    {
        self.key = key
        self.token = token
        self.outcome = outcome
        self.retention = retention
        self.reuse = reuse
    }
}

/// A request to give up a lease without a result.
public struct ReleaseRequest: Sendable {
    /// What to do with those who wait.
    public enum Mode: Hashable, Sendable {
        /// Release the lease only if nobody waits.
        case unlessAwaited
        /// End the flight as ``CanceledFlight/leaderShutDown`` for everybody who waits.
        case cancelWaiters
        /// End the flight as ``CanceledFlight/leaderLeft`` for everybody who waits.
        case giveUp
        /// Let the lease expire now, and tell those who wait, so that one of them takes over.
        case handOver
    }

    /// The flight's key.
    public var key: FlightKey
    /// The token under which the lease is, or may be, held.
    public var token: LeaseToken
    /// What to do with those who wait.
    public var mode: Mode
    /// How long the outcome is kept for those who ask for it.
    public var retention: Duration

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken, mode: Mode, retention: Duration) {
        self.key = key
        self.token = token
        self.mode = mode
        self.retention = retention
    }
}

/// A request to learn how a flight stands.
///
/// If the flight still runs, this process is registered on it again. Of an expired lease the answer is, according to
/// the request's policy, `.expired` (enter to take over), or the poll ends the flight as `canceled` for everybody.
public struct PollRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The flight that is waited for.
    public var token: LeaseToken
    /// What is to become of the flight if its leader is lost.
    public var leaderLoss: LeaderLossPolicy
    /// How long an outcome that this poll decides is kept.
    public var retention: Duration

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken, leaderLoss: LeaderLossPolicy, retention: Duration) {
        self.key = key
        self.token = token
        self.leaderLoss = leaderLoss
        self.retention = retention
    }
}

/// A request to take this process off a flight's waiters, unless another listener of this process still waits for the
/// key.
///
/// When no waiter is left, the leader's inbox hears of it.
public struct LeaveRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The flight that was waited for.
    public var token: LeaseToken

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken) {
        self.key = key
        self.token = token
    }
}

/// A request to draw a fence under a lease that is held and has not expired.
public struct FenceRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The token under which the lease is held.
    public var token: LeaseToken

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken) {
        self.key = key
        self.token = token
    }
}

/// A request to end somebody's flight.
///
/// The waiters and the leader are told that the flight is canceled.
public struct RevokeRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The flight to end, or `nil` for whichever runs.
    public var token: LeaseToken?
    /// The label of the process that ends it.
    public var by: String
    /// Why.
    public var reason: String
    /// How long the outcome is kept for those who ask for it.
    public var retention: Duration

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken?, by: String, reason: String, retention: Duration) {
        self.key = key
        self.token = token
        self.by = by
        self.reason = reason
        self.retention = retention
    }
}

/// A request to read what the store holds about a key.
public struct InspectRequest: Sendable {
    /// The key.
    public var key: FlightKey

    /// Creates a request.
    public init(key: FlightKey) {
        self.key = key
    }
}
