/// What a flight came to, as this process's local group hands it to every caller.
///
/// Indirect: each waiting caller has room for it in some frames of its task, and for every caller it is copied.
enum LocalResolution<Value: Sendable>: Sendable {
    indirect case finished(FinishedFlight<Value>)
    case canceled(DistributedCancellation)
    /// The store could not be asked, and no operation ran here.
    case unavailable(LeaseStoreError)

    var unavailable: LeaseStoreError? {
        if case .unavailable(let error) = self { error } else { nil }
    }
}

/// A flight with a result.
struct FinishedFlight<Value: Sendable>: Sendable {
    var result: Result<Value, any Error>
    /// Nil without a lease.
    var token: LeaseToken?
    var leader: String?
    var source: ResultSource
    /// Whether other processes got the result, too.
    var isSharedElsewhere: Bool
    var attempts: Int
    var coordination: Coordination
    /// Why the store's verdict on the result could not be learned, if so.
    var unverified: LeaseStoreError?
    /// The leader's span, if it has one.
    var trace: TraceContext?
    /// When this process learned that the result stands, if somebody wants to know.
    var learnedAt: LeaseInstant?
}

/// A flight that is over in this process.
struct EndedFlight<Value: Sendable>: Sendable {
    var resolution: LocalResolution<Value>
    /// Whether more than one caller of this process got it.
    var isShared: Bool
}

/// The right to lead: with a lease, or without one where the store could not be asked.
struct LocalGrant: Sendable {
    var token: LeaseToken?
    var driver: FlightDriver?
}

/// What a flight's first answer from the store made of this process.
enum LocalDecision: Sendable {
    case leads
    case follows
    /// There is an earlier flight's outcome that is used again.
    case reuses
    /// The flight has ended already; with the error, if the store could not be asked.
    case over(LeaseStoreError?)
}

/// One caller of a flight: turns what its process knows into what this caller is told.
struct LocalCaller: Sendable {
    var calledAt: LeaseInstant
    /// Whether its operation runs, or it works by hand, if this process leads.
    var isStarter: Bool
    var unavailable: UnavailablePolicy
    var group: GroupCore
    /// Who is told of the call, if somebody wants to know.
    var call: CallObserver?

    /// The same, of whom nobody is told.
    var unobserved: LocalCaller {
        var copy = self
        copy.call = nil
        return copy
    }

    /// Tells of the call's end.
    func end<Value>(_ outcome: DistributedOutcome<Value>) -> DistributedOutcome<Value> {
        self.call?.end(outcome)
        return outcome
    }

    func outcome<Value>(of ended: EndedFlight<Value>) -> DistributedOutcome<Value> {
        switch ended.resolution {
        case .canceled(let reason):
            return .canceled(reason)
        case .unavailable(let error):
            return self.unavailable(because: error)
        case .finished(let flight):
            if let error = flight.unverified, self.unavailable == .fail {
                return self.unavailable(because: error)
            }
            let role: FlightRole =
                switch flight.source {
                case .thisProcess: self.isStarter ? .leader : .subscriber
                case .remote, .reused: .follower
                }
            self.call?.woke(by: flight, as: role)
            return .complete(
                DistributedCompletion(
                    result: flight.result,
                    isShared: ended.isShared || flight.isSharedElsewhere,
                    role: role,
                    source: flight.source,
                    token: flight.token,
                    leader: flight.leader,
                    waited: self.waited,
                    attempts: flight.attempts,
                    coordination: flight.coordination
                )
            )
        }
    }

    func unavailable<Value>(because error: LeaseStoreError) -> DistributedOutcome<Value> {
        .complete(
            DistributedCompletion(
                result: .failure(
                    DistributedGroupError(.unavailable, "the store could not be asked: \(error)", underlying: error)
                ),
                isShared: false,
                role: .subscriber,
                source: .thisProcess,
                token: nil,
                leader: self.group.store.label,
                waited: self.waited,
                attempts: 1,
                coordination: .degraded
            )
        )
    }

    private var waited: Duration { self.calledAt.duration(to: self.group.store.clock.now) }
}
