import Singleflight

/// One caller of a group: turns what its process knows of a flight into what this caller is told.
struct GroupCall: Sendable {
    var calledAt: LeaseInstant
    /// Whether its operation runs, or it works by hand, if this process leads.
    var isStarter = false
    var unavailable: UnavailablePolicy
    var store: any LeaseStore
    /// Told of the call, if somebody wants to know.
    var observer: CallObserver?

    /// The same, of whom nobody is told.
    var unobserved: GroupCall {
        var copy = self
        copy.observer = nil
        return copy
    }

    /// Tells of the call's end.
    func end(_ outcome: Outcome<ErasedValue>) -> Outcome<ErasedValue> {
        self.observer?.end(outcome)
        return outcome
    }

    func outcome(of settled: Settled) -> Outcome<ErasedValue> {
        switch settled.settlement {
        case .canceled(let reason):
            return .canceled(reason)
        case .unavailable(let error):
            return self.unavailable(because: error)
        case .finished(let flight):
            if let error = flight.unverified, self.unavailable == .fail {
                return self.unavailable(because: error)
            }
            let role: Role =
                switch flight.source {
                case .thisProcess: self.isStarter ? .leader : .subscriber
                case .remote, .reused: .follower
                }
            self.observer?.resumed(by: flight, as: role)
            return .complete(
                Completion(
                    result: flight.result,
                    isShared: settled.isShared || flight.isSharedElsewhere,
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

    func unavailable(because error: LeaseStoreError) -> Outcome<ErasedValue> {
        .complete(
            Completion(
                result: .failure(
                    DistributedGroupError(
                        DistributedGroupError.Code(error.code),
                        "the store could not be asked: \(error)",
                        underlying: error
                    )
                ),
                isShared: false,
                role: .subscriber,
                source: .thisProcess,
                token: nil,
                leader: self.store.label,
                waited: self.waited,
                attempts: 1,
                coordination: .degraded
            )
        )
    }

    private var waited: Duration { self.calledAt.duration(to: self.store.clock.now) }
}

extension DistributedGroupError.Code {
    /// What it is to a caller that the store could not be asked.
    fileprivate init(_ code: LeaseStoreError.Code) {
        switch code {
        case .refused: self = .refused
        case .tooLarge: self = .resultTooLarge
        default: self = .unavailable
        }
    }
}
