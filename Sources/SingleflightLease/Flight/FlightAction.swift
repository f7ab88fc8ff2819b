/// What a flight's state machines want done. They do nothing themselves: the driver carries the actions out, in order.
package enum FlightAction: Sendable, Equatable {
    /// Ask the store to lead under the token, unless it comes to it later than `until`; again, if the request was sent before.
    case enter(LeaseToken, isRepetition: Bool, until: LeaseInstant)
    /// Ask the store how the flight of the token stands.
    case poll(LeaseToken)
    /// The same, and end the flight if its leader is lost: nobody takes over.
    case settle(LeaseToken)
    /// Take this process off the flight's waiters.
    case leave(LeaseToken)
    /// Prolong the lease.
    case renew(LeaseToken, attempt: Int, renewals: Int)
    /// End the flight with a result.
    case complete(LeaseToken, StoredOutcome)
    /// Give up the lease without a result.
    case release(LeaseToken, ReleaseRequest.Mode)
    /// End the flight for everybody, for a reason of the leader's.
    case revoke(LeaseToken, reason: String)
    /// Run the operation: the lease is held.
    case startOperation(LeaseToken)
    /// Cancel the operation's task: its result is no longer wanted, for this reason.
    case cancelOperation(OperationLoss)
    /// Call `timerFired` at this time, instead of at any time asked for before.
    case wake(at: LeaseInstant)
    /// Tell the local callers. Comes once in a flight's life.
    case resolve(FlightResolution)
    /// Nothing more will be asked for: let go of the flight. Comes once, last.
    case finish
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
package enum FlightResolution: Sendable, Equatable {
    /// This process led, and its operation ended: this is what the store says of the result.
    case led(LeaseToken, LeaderVerdict, attempt: Int)
    /// Another process led; this is the outcome that it stored.
    case followed(LeaseToken, StoredOutcome, isReused: Bool, takeovers: Int)
    /// This process led and lost its lease before its result was accepted; the flight's stored end, if it is known.
    case leaseLost(LeaseToken, CanceledFlight?)
    /// This process led, and the operation ran longer than a flight may.
    case tooLong(LeaseToken, attempt: Int)
    /// This process led, and who was to bring the result went away.
    case leaderLeft(LeaseToken)
    /// This process led, and ended the flight for everybody, for this reason.
    case leaderCanceled(LeaseToken, reason: String)
    /// The store has lost the flight: no outcome can be learned.
    case gone(LeaseToken)
    /// This process shuts down.
    case shutDown
    /// The store cannot be asked; nothing is known of the flight.
    case unavailable(FlightUnavailable)
}

/// What the store says of a leader's result.
package enum LeaderVerdict: Sendable, Equatable {
    /// It stands; so many processes were told, if the store said how many.
    case accepted(waiters: Int?)
    /// The store could not be asked, or could not tell: it may stand or not.
    case unverified(FlightUnavailable)
}

/// Why the store could not be asked, comparable for tests.
package struct FlightUnavailable: Sendable, Equatable {
    package let error: LeaseStoreError

    package init(_ error: LeaseStoreError) {
        self.error = error
    }

    package static func == (lhs: FlightUnavailable, rhs: FlightUnavailable) -> Bool {
        lhs.error.code == rhs.error.code
    }
}
