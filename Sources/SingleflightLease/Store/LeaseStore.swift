/// Whatever keeps leases: the seam between the lease layer and Redis, or the in-memory store of the test kit.
///
/// Every request answers by calling `reply` exactly once, whatever happens: with the store's word, or with a
/// ``LeaseStoreError`` within the store's command timeout. A reply may come on any thread, also before the method returns; it must be
/// short. Callbacks instead of `async` functions, because a flight is a chain of small steps: each hop to a task
/// and back would cost more than the step (10 µs of latency measured), and because a simulation can then run the real code in one thread.
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
    /// canceled; make it before the `enter` whose outcome it is for, since an announcement can overtake the reply.
    func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration

    /// Asks to lead the flight of a key.
    ///
    /// Postcondition of `.lead`: the lease is held under the request's token for its duration, counted from the sending of the request;
    /// of `.follow`: this process's inbox is registered on the flight that is named. An expired lease is, according to the request's policy,
    /// taken over under the new token with its waiters, or ended as `canceled` for all of them; of several that enter at once one leads.
    ///
    /// A request that comes to the store later than its validity allows is answered `.late` and changes nothing, as far as
    /// the store can tell; one that is in time never is, however far clocks are apart. A free lease may be taken by a step
    /// that cannot tell: whoever gives up an unanswered request to lead releases its token, until the lease's time is over.
    func enter(_ request: EnterRequest, reply: @escaping LeaseReply<EnterReply>)

    /// Prolongs a lease by its duration, counted from the sending of the request.
    ///
    /// Precondition for `.renewed`: the lease is held under the token and has not expired, not even unnoticed. Those who wait are
    /// told of the request's news, if it has any; they may be so many that they are not.
    func renew(_ request: RenewRequest, reply: @escaping LeaseReply<RenewReply>)

    /// Ends a flight with the result of its operation.
    ///
    /// It is accepted while the lease is held under the token, even past its expiry as long as nobody noticed. An accepted outcome is
    /// stored under the token before it is announced; a refused one changes nothing.
    func complete(_ request: CompleteRequest, reply: @escaping LeaseReply<CompleteReply>)

    /// Gives up a lease without a result.
    func release(_ request: ReleaseRequest, reply: @escaping LeaseReply<ReleaseReply>)

    /// Asks how a flight stands, and registers this process on it again if it still runs.
    ///
    /// Of an expired lease the answer is, according to the request's policy, `.expired` (enter to take over), or the poll ends the
    /// flight as `canceled` for everybody.
    func poll(_ request: PollRequest, reply: @escaping LeaseReply<PollReply>)

    /// Takes this process off a flight's waiters, unless another listener of this process still waits for the key.
    ///
    /// When no waiter is left, the leader's inbox hears of it.
    func leave(_ key: FlightKey, token: LeaseToken, reply: @escaping LeaseReply<LeaveReply>)

    /// Draws a fence under a lease that is held and has not expired.
    func fence(_ key: FlightKey, token: LeaseToken, reply: @escaping LeaseReply<FenceReply>)

    /// Ends somebody's flight from outside: the waiters and the leader are told that it is canceled.
    func revoke(_ request: RevokeRequest, reply: @escaping LeaseReply<RevokeReply>)

    /// Reads what the store holds about a key.
    func inspect(_ key: FlightKey, reply: @escaping LeaseReply<LeaseInspection>)
}

/// Receives a store's answer, exactly once.
public typealias LeaseReply<Reply> = @Sendable (Result<Reply, LeaseStoreError>) -> Void

/// A lease's times and rules, as the store needs them.
public struct LeaseTerms: Hashable, Sendable {
    /// How long a lease lasts without renewal.
    public var duration: Duration
    /// How long the store remembers an expired lease, so that those who waited learn of it.
    public var grace: Duration
    /// How long an outcome is kept for those who ask for it.
    public var retention: Duration
    /// What becomes of a flight whose leader is lost.
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
    /// Exactly one of those who wait leads on under a new lease, the others keep waiting; at most so many times for one flight,
    /// after that it ends as `canceled`.
    case takeOver(attempts: Int)
}

/// A request to lead.
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
    /// Whether the request was sent before and may have been carried out: then the flight of its token may have begun, and even have
    /// ended, which the store must look up.
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

/// How far an operation has come, in its own words.
public struct FlightProgress: Hashable, Sendable {
    /// The share of the work that is done, from 0 to 1, if it is known.
    public var fraction: Double?
    /// What is being done; at most 1024 bytes of UTF-8 reach other processes, longer ones are cut.
    public var message: String

    /// Creates a report; a fraction outside 0 to 1 is clamped, one that is not a number is dropped.
    public init(fraction: Double? = nil, message: String = "") {
        self.fraction = fraction.flatMap { $0.isNaN ? nil : min(max($0, 0), 1) }
        self.message = message
    }

    /// The longest message that is told to other processes, in bytes of UTF-8.
    static let maximumMessageBytes = 1024

    /// The same, with a message that is short enough to be told to other processes: cut at a character.
    var shortened: FlightProgress {
        guard self.message.utf8.count > Self.maximumMessageBytes else { return self }
        var short = self
        short.message = ""
        var count = 0
        for character in self.message {
            count += character.utf8.count
            guard count <= Self.maximumMessageBytes else { break }
            short.message.append(character)
        }
        return short
    }
}

/// The answer to ``EnterRequest``.
public enum EnterReply: Hashable, Sendable {
    /// The lease is held under the request's token; `attempt` counts the takeovers of this flight so far.
    case lead(attempt: Int)
    /// Somebody else leads; this process is registered as a waiter. The lease runs out after `remaining` unless it is renewed.
    case follow(LeaseToken, remaining: Duration)
    /// An earlier flight, named by its token, ended with an outcome that may be used again. If it is the request's own token, the
    /// flight that a first sending began has ended so.
    case reuse(LeaseToken, StoredOutcome)
    /// The request came too late to be carried out.
    case late
}

/// A request to prolong a lease.
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

/// The answer to ``RenewRequest``.
public enum RenewReply: Hashable, Sendable {
    /// The lease lasts for its duration again; so many processes wait for it.
    case renewed(waiters: Int)
    /// The lease is held under another token, or not at all; why the flight was canceled, if it was, as long as that is kept.
    case lost(reason: CanceledFlight? = nil)
    /// The lease ran out before the request came, though nobody noticed yet. It stays expired.
    case expired
}

/// A request to end a flight with a result.
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

/// The answer to ``CompleteRequest``.
public enum CompleteReply: Hashable, Sendable {
    /// The outcome stands; so many processes were told.
    case accepted(waiters: Int)
    /// The outcome stands already: the request is a repetition.
    case duplicate
    /// The lease is no longer held under the token, and the flight ended otherwise or was taken over: the result is refused. Why it
    /// was canceled, if it was.
    case stale(current: LeaseToken?, reason: CanceledFlight? = nil)
    /// The lease is no longer held under the token, and the store does not know how the flight ended. To the first
    /// sending of the request that means refused; to a repetition it can also mean that the first was accepted and nobody waited.
    case unknown(current: LeaseToken?)
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

/// The answer to ``ReleaseRequest``.
public enum ReleaseReply: Hashable, Sendable {
    /// The lease is no longer held; so many processes were told.
    case released(waiters: Int)
    /// So many processes wait, and the request asked to keep the lease then.
    case awaited(waiters: Int)
    /// The lease was not held under the token.
    case notHeld
}

/// A request to learn how a flight stands.
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

/// The answer to ``PollRequest``.
public enum PollReply: Hashable, Sendable {
    /// The flight has ended.
    case done(StoredOutcome)
    /// The flight runs, and this process is registered on it. The lease runs out after `remaining` unless it is renewed.
    case running(remaining: Duration)
    /// The lease has run out; whoever enters now may take over.
    case expired
    /// Somebody took over and leads the flight under another token.
    case superseded(by: LeaseToken)
    /// The store knows nothing of the flight: its outcome is no longer kept, or the store lost its data.
    case gone
}

/// The answer to ``LeaseStore/leave(_:token:reply:)``.
public struct LeaveReply: Hashable, Sendable {
    /// The number of processes that still wait.
    public var waiters: Int

    /// Creates a reply.
    public init(waiters: Int) {
        self.waiters = waiters
    }
}

/// The answer to ``LeaseStore/fence(_:token:reply:)``.
public enum FenceReply: Hashable, Sendable {
    /// The fence, greater than every earlier one of the key.
    case drawn(Fence)
    /// The lease is not held under the token, or has expired.
    case lost
}

/// A request to end somebody's flight.
public struct RevokeRequest: Sendable {
    /// The flight's key.
    public var key: FlightKey
    /// The flight to end, or `nil` for whichever runs.
    public var token: LeaseToken?
    /// Who ends it.
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

/// The answer to ``RevokeRequest``.
public enum RevokeReply: Hashable, Sendable {
    /// The flight of that token ended; so many waiting processes were told.
    case revoked(LeaseToken, waiters: Int)
    /// There is no such flight.
    case nothing
}

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
        /// What the leader says about itself. The age is as of now, as far as the leader's and the reader's wall clocks agree.
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
