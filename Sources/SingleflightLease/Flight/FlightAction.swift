/// What a ``FlightMachine`` wants done. It does nothing itself: the driver carries the actions out, in order.
package enum FlightAction: Sendable {
    /// Ask the store.
    case send(FlightRequest)
    /// Run the operation: the lease is held, or none is needed.
    case startOperation(LeaseToken?)
    /// The operation goes on under another lease.
    case moveOperation(to: LeaseToken)
    /// Cancel the operation's task: its result is no longer wanted, for this reason.
    case cancelOperation(OperationLoss)
    /// Let ``FlightEvent/timer`` happen at this time, instead of at any time asked for before.
    case wake(at: LeaseInstant)
    /// Tell the local callers. Comes once in a flight's life.
    case tell(FlightEnd)
    /// Nothing more will be asked for: let go of the flight. Comes once, last.
    case finish
}

/// What a transition comes to, in order.
package typealias FlightActions = ShortList<FlightAction>

/// What a flight asks its store; the driver adds what it knows and the machine does not need to.
package enum FlightRequest: Sendable, Equatable {
    /// Which flight does the key have?
    case look
    /// Lead under the token, unless the request comes to the store later than `until`; again, if it was sent before.
    case enter(LeaseToken, isRepetition: Bool, until: LeaseInstant)
    /// How does the flight of the token stand? If it may end, a lost leader ends it: nobody takes over.
    case poll(LeaseToken, mayEnd: Bool = false)
    /// Take this process off the flight's waiters.
    case leave(LeaseToken)
    /// Prolong the lease; the store is to see whether those who wait still live if nobody waits here.
    case renew(LeaseToken, renewals: Int, isAbandoned: Bool)
    /// End the flight with a result.
    case complete(LeaseToken, StoredOutcome)
    /// Give up the lease without a result.
    case release(LeaseToken, ReleaseRequest.Mode)
    /// End the flight for everybody, for a reason of the leader's.
    case revoke(LeaseToken, reason: String)

    /// The token that the request is sent under, or asks about; `nil` where it is about whatever flight there is.
    var token: LeaseToken? {
        switch self {
        case .look: nil
        case .enter(let token, _, _), .poll(let token, _), .leave(let token), .renew(let token, _, _),
            .complete(let token, _), .release(let token, _), .revoke(let token, _):
            token
        }
    }
}

/// Why a running operation is canceled.
package enum OperationLoss: Sendable, Hashable {
    /// The lease was lost, or might have been: another leader is possible.
    case leaseLost
    /// Nobody waits any more, here or elsewhere.
    case abandoned
    /// The operation ran longer than a flight may.
    case tooLong
    /// This process shuts down.
    case shutDown
}

/// What a flight came to in this process, for its local callers.
package enum FlightEnd: Sendable {
    /// This process led, and its operation ended: this is what the store says of the result.
    case led(LeaseToken, LeaderVerdict, attempt: Int)
    /// The operation ran without a lease, and ended.
    case ranAlone
    /// Another process led; this is the outcome that it stored.
    case followed(LeaseToken, StoredOutcome, isReused: Bool, takeovers: Int)
    /// This process led and lost its lease before its result was accepted; the flight's stored end, if it is known.
    case leaseLost(LeaseToken, CanceledFlight?)
    /// The operation, in this process, ran longer than a flight may.
    case tooLong(LeaseToken?, attempt: Int)
    /// The caller that led by hand, in this process, went away.
    case leaderLeft
    /// The caller that led by hand, in this process, ended the flight for everybody, for this reason.
    case leaderCanceled(reason: String)
    /// The store has lost the flight: no outcome can be learned.
    case gone(LeaseToken)
    /// Nobody led on after the leader was lost, and by now the store has forgotten the flight.
    case lapsed(LeaseToken)
    /// There is no flight to follow.
    case absent
    /// A refresh is not needed: another process leads the flight.
    case ledElsewhere
    /// This process shuts down.
    case shutDown
    /// The store cannot be asked; nothing is known of the flight.
    case unavailable(LeaseStoreError)
}

/// What the store says of a leader's result.
package enum LeaderVerdict: Sendable {
    /// It stands; the number of processes that were told, if the store said it.
    case accepted(waiters: Int?)
    /// The store could not be asked, or could not tell: it may stand or not.
    case unverified(LeaseStoreError)
}
