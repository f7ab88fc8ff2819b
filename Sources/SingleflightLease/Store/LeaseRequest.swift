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
    /// Says that flights wait for another one.
    case depend(DependRequest)
    /// Reads what the store holds about a key.
    case inspect(InspectRequest)
    /// Stores a chunk of a stream.
    case append(AppendRequest)
    /// Reads chunks of a stream.
    case read(ReadRequest)

    /// The kinds of requests, by their names.
    public enum Kind: String, Sendable, CaseIterable {
        /// One for each case of ``LeaseRequest``.
        case enter, renew, complete, release, poll, leave, fence, revoke, depend, inspect, append, read
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
        case .depend: .depend
        case .inspect: .inspect
        case .append: .append
        case .read: .read
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
        case .depend(let request): request.key
        case .inspect(let request): request.key
        case .append(let request): request.key
        case .read(let request): request.key
        }
    }
}

/// A request to lead.
///
/// Postcondition of `.lead`: the lease is held under the request's token for its duration, counted from the sending of
/// the request; of `.follow`: this process's inbox is registered on the flight that is named. An expired lease is,
/// according to its own terms, taken over under the new token with its waiters, or ended as `canceled` for all of them;
/// of several requests at once one leads. A flight's retention and what becomes of it if its leader is lost are those
/// of its first leader: they stay with it through every takeover, whatever the terms of the others. The
/// process that takes over is no waiter any more, unless another flight of it waits for the key.
///
/// An earlier outcome that is wanted, and kept for long enough yet, is answered whether somebody leads or not.
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
    /// Whether the flight led before, under a lease that is gone: such a flight is none of the process's listeners that
    /// wait.
    public var isRegaining: Bool
    /// For how long an earlier outcome must still be kept so that it is wanted, where the terms accept reuse at all.
    public var leastLife: Duration

    /// Creates a request.
    public init(
        key: FlightKey,
        token: LeaseToken,
        terms: LeaseTerms,
        note: LeaseNote,
        validity: Duration,
        isRepetition: Bool = false,
        isRegaining: Bool = false,
        leastLife: Duration = .zero
    ) {
        self.key = key
        self.token = token
        self.terms = terms
        self.note = note
        self.validity = validity
        self.isRepetition = isRepetition
        self.isRegaining = isRegaining
        self.leastLife = leastLife
    }

    /// How many of its process's listeners that wait for the key are the flight that asks: a store finds out whether
    /// others wait.
    package var ownWaiters: Int { self.isRegaining ? 0 : 1 }

    /// Whether a free lease may be taken at once: no earlier flight can have an outcome that matters to the request.
    package var takesFreeLease: Bool { !self.isRepetition && !self.terms.acceptsReuse }
}

/// A request to prolong a lease.
///
/// The lease lasts for its duration again, counted from the sending of the request. Precondition for `.renewed`: it is
/// held under the token and has not expired, not even unnoticed. The store announces `news` to the waiters, unless
/// there are too many for one script.
///
/// A leader that is abandoned in its own process works for processes elsewhere, which may have died: then the store
/// looks whether any of those that are registered still lives, and strikes those that do not.
public struct RenewRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The token under which the lease is held.
    public var token: LeaseToken
    /// The lease's terms.
    public var terms: LeaseTerms
    /// What the lease tells people who inspect it from now on.
    public var note: LeaseNote
    /// Progress to tell those who wait; `nil` where there is nothing new.
    public var news: FlightProgress?
    /// Whether nobody in the leader's own process waits any more.
    public var isAbandoned: Bool

    /// Creates a request.
    public init(
        key: FlightKey,
        token: LeaseToken,
        terms: LeaseTerms,
        note: LeaseNote,
        news: FlightProgress? = nil,
        isAbandoned: Bool = false
    ) {
        self.key = key
        self.token = token
        self.terms = terms
        self.note = note
        self.news = news
        self.isAbandoned = isAbandoned
    }
}

/// A request to end a flight with a result.
///
/// It is accepted while the lease is held under the token, even past its expiry as long as nobody noticed. An accepted
/// outcome is stored under the token before it is announced, for the flight's retention; a refused one changes nothing.
/// A store that has no room for it answers with an error of the code ``LeaseStoreError/Code/full``, and nothing has
/// changed.
public struct CompleteRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The token under which the lease is held.
    public var token: LeaseToken
    /// The result.
    public var outcome: StoredOutcome
    /// How long those who enter get this outcome instead of a new flight; zero for not at all.
    public var reuse: Duration
    /// Whether an earlier outcome goes on being reused if this one is not to be: of a refresh that failed.
    public var keepsEarlier: Bool

    /// Creates a request.
    public init(
        key: FlightKey,
        token: LeaseToken,
        outcome: StoredOutcome,
        reuse: Duration = .zero,
        keepsEarlier: Bool = false
    ) {
        self.key = key
        self.token = token
        self.outcome = outcome
        self.reuse = reuse
        self.keepsEarlier = keepsEarlier
    }
}

/// A request to give up a lease without a result.
public struct ReleaseRequest: Sendable {
    /// What to do with those who wait.
    public enum Mode: Hashable, Sendable {
        /// Release the lease only if nobody waits who still lives.
        case unlessAwaited
        /// The leader's process shuts down. A flight that may be taken over is handed over; any other ends as
        /// ``CanceledFlight/leaderShutDown`` for everybody who waits.
        case shutDown
        /// Nobody brings the flight to its end. A flight that may be taken over is handed over; any other ends as
        /// ``CanceledFlight/leaderLeft`` for everybody who waits.
        case giveUp
        /// Let the lease expire now, and tell those who wait, so that one of them takes over if the flight's terms
        /// allow it.
        case handOver
        /// Take back the request to lead that was sent under the token, whatever became of it: nothing ran. If the
        /// request was granted the lease, those who wait are told to enter again; if it made this process a waiter, it
        /// is one no longer.
        case withdraw
    }

    /// The flight's key.
    public var key: FlightKey
    /// The token under which the lease is, or may be, held.
    public var token: LeaseToken
    /// What to do with those who wait.
    public var mode: Mode

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken, mode: Mode) {
        self.key = key
        self.token = token
        self.mode = mode
    }
}

/// A request to learn how a flight stands.
///
/// If the flight still runs, this process is registered on it again. Of an expired lease the answer is, according to
/// the flight's own terms, `.expired` (enter to take over), or the poll ends the flight as `canceled` for everybody.
public struct PollRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The flight that is waited for.
    public var token: LeaseToken
    /// Whether a flight whose leader is lost is to end even if it could be taken over: those who can had the time to.
    public var mayEnd: Bool

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken, mayEnd: Bool = false) {
        self.key = key
        self.token = token
        self.mayEnd = mayEnd
    }
}

/// A request to take this process off a flight's waiters, unless another listener of this process still waits for the
/// key.
///
/// A registration for a later flight of the key stays. When no waiter is left, the leader's inbox hears of it.
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
/// The waiters and the leader are told that the flight is canceled. Without a token, a value that is no lease is
/// removed from where the lease should be.
public struct RevokeRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The flight to end, or `nil` for whichever runs.
    public var token: LeaseToken?
    /// The label of the process that ends it.
    public var by: String
    /// Why.
    public var reason: String

    /// Creates a request.
    public init(key: FlightKey, token: LeaseToken?, by: String, reason: String) {
        self.key = key
        self.token = token
        self.by = by
        self.reason = reason
    }
}

/// A flight on whose behalf another one is waited for.
public struct EnclosingFlight: Hashable, Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The token under which the flight is led.
    public var token: LeaseToken

    /// Names a flight that is led.
    public init(key: FlightKey, token: LeaseToken) {
        self.key = key
        self.token = token
    }
}

/// A request that says: the flights `enclosing`, which are led, wait for the flight of the token. And asks whether that
/// closes a circle, since a flight that waits for itself would wait until its time is over.
///
/// To be sent once the flight is followed. Whatever two processes do at the same time, at least one of two that close a
/// circle together is told. The store keeps the latest eight flights that a flight waits for, and follows at most 32 of
/// them; beyond that, and where a flight in the circle was taken over meanwhile, a circle may not be found.
public struct DependRequest: Sendable {
    /// How many enclosing flights, the innermost first, are taken note of.
    public static let maximumDepth = 8

    /// The key of the flight that is waited for.
    public var key: FlightKey
    /// The flight that is waited for.
    public var token: LeaseToken
    /// The flights that wait, the innermost first.
    public var enclosing: [EnclosingFlight]

    /// Creates a request; of the enclosing flights it keeps the innermost ``maximumDepth``.
    public init(key: FlightKey, token: LeaseToken, enclosing: [EnclosingFlight]) {
        self.key = key
        self.token = token
        self.enclosing = Array(enclosing.prefix(Self.maximumDepth))
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
