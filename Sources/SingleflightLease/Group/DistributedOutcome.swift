public import Singleflight

/// How a flight ended for one caller.
public enum DistributedOutcome<Value: Sendable>: Sendable {
    /// There is a result: a value or an error.
    case complete(DistributedCompletion<Value>)
    /// No result will come, and why.
    case canceled(DistributedCancellation)
}

/// A flight's result, and how it came to this caller.
public struct DistributedCompletion<Value: Sendable>: Sendable {
    /// What the operation returned or threw; or why the group could not pass it on.
    public var result: Result<Value, any Error>
    /// Whether somebody else, here or in another process, got this result, too.
    public var isShared: Bool
    /// What this caller was.
    public var role: FlightRole
    /// Where the result comes from.
    public var source: ResultSource
    /// The flight, if it had a lease.
    public var token: LeaseToken?
    /// The label of the process that led, if it is known.
    public var leader: String?
    /// How long this caller waited, from its call to the result.
    public var waited: Duration
    /// How many leaders the flight had, as far as this process knows.
    public var attempts: Int
    /// Whether the store had its part in it.
    public var coordination: Coordination
}

/// What a caller was in its flight.
public enum FlightRole: Hashable, Sendable {
    /// The caller whose operation ran.
    case leader
    /// A caller in the leader's process that waited for it.
    case subscriber
    /// A caller in another process than the leader's.
    case follower
}

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
    /// The group only observes: the operation ran for this caller alone. See ``CoalescingMode/observe``.
    case observed
}

/// Why no result will come.
public enum DistributedCancellation: Hashable, Sendable, CustomStringConvertible {
    /// The leader's lease ran out: its process died, was cut off, or was paused for too long.
    case leaseExpired
    /// This process led and lost its lease before its result was accepted; somebody else may lead now.
    case leaseLost
    /// Leaders were lost as often as the group allows somebody to take over.
    case supersededTooOften
    /// The leader's process shut down, or this one did.
    case leaderShutDown
    /// Whoever led by hand, here or elsewhere, went away without a result.
    case leaderLeft
    /// Nobody waited for the flight any more, here or elsewhere, before this caller asked how it ended.
    case abandoned
    /// Somebody ended the flight from outside, or its leader did for a reason of its own. A leader that does not hear of it learns it
    /// from the store's next answer, to a renewal or its result, as long as the outcome is kept; after that it is ``leaseLost``.
    case revoked(by: String, reason: String)
    /// The store has lost the flight: it restarted without its data, was flushed, or evicted it; or this process could not ask for the
    /// outcome as long as it was kept.
    case storeLostFlight
    /// This caller's task was canceled; the flight goes on for the others.
    case callerCancelled
    /// This caller waited as long as it wanted to; the flight goes on for the others.
    case waitLimitReached
    /// This caller had left its flight before.
    case left
    /// The caller was turned away at once: re-entrant, or too many waiting already.
    case refused(GroupError)

    init(_ reason: CanceledFlight) {
        switch reason {
        case .leaseExpired: self = .leaseExpired
        case .supersededTooOften: self = .supersededTooOften
        case .leaderShutDown: self = .leaderShutDown
        case .leaderLeft: self = .leaderLeft
        case .revoked(let by, let reason): self = .revoked(by: by, reason: reason)
        }
    }

    /// A short sentence for people.
    public var description: String {
        switch self {
        case .leaseExpired: "the leader's lease expired"
        case .leaseLost: "the lease was lost"
        case .supersededTooOften: "the leader was lost too often"
        case .leaderShutDown: "the leader shut down"
        case .leaderLeft: "the leader left"
        case .abandoned: "nobody waited any more"
        case .revoked(let by, let reason): "revoked by \(by)" + (reason.isEmpty ? "" : ": \(reason)")
        case .storeLostFlight: "the store lost the flight"
        case .callerCancelled: "the caller was canceled"
        case .waitLimitReached: "the wait limit was reached"
        case .left: "the caller had left"
        case .refused(let error): "refused: \(error)"
        }
    }
}
