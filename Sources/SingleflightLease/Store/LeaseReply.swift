/// A store's answer to a ``LeaseRequest``, of the same kind.
public enum LeaseReply: Hashable, Sendable {
    /// The answer to ``EnterRequest``.
    case enter(EnterReply)
    /// The answer to ``RenewRequest``.
    case renew(RenewReply)
    /// The answer to ``CompleteRequest``.
    case complete(CompleteReply)
    /// The answer to ``ReleaseRequest``.
    case release(ReleaseReply)
    /// The answer to ``PollRequest``.
    case poll(PollReply)
    /// The answer to ``LeaveRequest``.
    case leave(LeaveReply)
    /// The answer to ``FenceRequest``.
    case fence(FenceReply)
    /// The answer to ``RevokeRequest``.
    case revoke(RevokeReply)
    /// The answer to ``DependRequest``.
    case depend(DependReply)
    /// The answer to ``InspectRequest``.
    case inspect(LeaseInspection)
    /// The answer to ``AppendRequest``.
    case append(AppendReply)
    /// The answer to ``ReadRequest``.
    case read(ReadReply)
}

/// The answer to ``EnterRequest``.
public enum EnterReply: Hashable, Sendable {
    /// The lease is held under the request's token; `attempt` counts the takeovers of this flight so far.
    case lead(attempt: Int)
    /// Somebody else leads; this process is registered as a waiter. The lease runs out after `remaining` unless it is
    /// renewed.
    case follow(LeaseToken, remaining: Duration)
    /// An earlier flight, named by its token, ended with an outcome that may be used again. If it is the request's own
    /// token, the flight that a first sending began has ended so, and nothing is said of its freshness.
    case reuse(LeaseToken, StoredOutcome, Freshness? = nil)
    /// The request came too late to be carried out.
    case late
}

/// How an outcome stands that is used again.
public struct Freshness: Hashable, Sendable {
    /// For how long it is kept for reuse yet.
    public var left: Duration
    /// Whether somebody leads a flight of the key, whose result may replace it.
    public var isLed: Bool

    /// Creates a value.
    public init(left: Duration, isLed: Bool) {
        self.left = left
        self.isLed = isLed
    }
}

/// The answer to ``RenewRequest``.
public enum RenewReply: Hashable, Sendable {
    /// The lease lasts for its duration again; the number of processes that wait for it.
    case renewed(waiters: Int)
    /// The lease is held under another token, or not at all; why the flight was canceled, if it was, as long as that is
    /// kept.
    case lost(reason: CanceledFlight? = nil)
    /// The lease ran out before the request came, though nobody noticed yet. It stays expired.
    case expired
}

/// The answer to ``CompleteRequest``.
public enum CompleteReply: Hashable, Sendable {
    /// The outcome stands; the number of processes that were told.
    case accepted(waiters: Int)
    /// The outcome stands already: the request is a repetition.
    case duplicate
    /// The lease is no longer held under the token, and the flight ended otherwise or was taken over: the result is
    /// refused. Why it was canceled, if it was.
    case stale(current: LeaseToken?, reason: CanceledFlight? = nil)
    /// The lease is no longer held under the token, and the store does not know how the flight ended. To the first
    /// sending of the request that means refused; to a repetition it can also mean that the first was accepted and
    /// nobody waited.
    case unknown(current: LeaseToken?)
}

/// The answer to ``ReleaseRequest``.
public enum ReleaseReply: Hashable, Sendable {
    /// The lease is no longer held; the number of processes that were told.
    case released(waiters: Int)
    /// The number of processes that wait: the request asked to keep the lease then.
    case awaited(waiters: Int)
    /// The lease was not held under the token.
    case notHeld
}

/// The answer to ``PollRequest``.
public enum PollReply: Hashable, Sendable {
    /// The flight has ended.
    case done(StoredOutcome)
    /// The flight runs, and this process is registered on it. The lease runs out after `remaining` unless it is
    /// renewed.
    case running(remaining: Duration)
    /// The lease has run out; a process that enters now may take over.
    case expired
    /// Somebody took over and leads the flight under another token.
    case superseded(by: LeaseToken)
    /// The lease was given back before anything ran under it: enter again.
    case withdrawn
    /// The store knows nothing of the flight: its outcome is no longer kept, or the store lost its data.
    case gone
}

/// The answer to ``LeaveRequest``.
public struct LeaveReply: Hashable, Sendable {
    /// The number of processes that still wait.
    public var waiters: Int

    /// Creates a reply.
    public init(waiters: Int) {
        self.waiters = waiters
    }
}

/// The answer to ``FenceRequest``.
public enum FenceReply: Hashable, Sendable {
    /// The fence, greater than every earlier one of the key.
    case drawn(Fence)
    /// The lease is not held under the token, or has expired.
    case lost
}

/// The answer to ``RevokeRequest``.
public enum RevokeReply: Hashable, Sendable {
    /// The flight of that token ended; the number of waiting processes that were told.
    case revoked(LeaseToken, waiters: Int)
    /// There is no such flight.
    case nothing
    /// The place of the lease held something that is no lease: it was removed.
    case removedForeign
}

/// The answer to ``DependRequest``.
public enum DependReply: Hashable, Sendable {
    /// The store has taken note, and knows of no circle.
    case noted
    /// One of the enclosing flights is waited for by the flight that it would wait for: the keys on the way, from the
    /// first that was to be waited for to the enclosing flight that is waited for in turn.
    case circular(path: [String])
}
