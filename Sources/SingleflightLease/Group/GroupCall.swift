package import Singleflight

/// One caller of a group: turns what its process knows of a flight into what this caller is told.
package struct GroupCall: Sendable {
    var calledAt: LeaseInstant
    /// When the caller stops waiting; `nil` for never.
    var deadline: LeaseInstant?
    /// Whether its operation runs, or it works by hand, if this process leads.
    var isStarter = false
    var unavailable: UnavailablePolicy
    var undecodable: UndecodablePolicy
    /// What a run in this process is to the call, if it came to that.
    var localRun: Coordination?
    /// What it is part of, if the store knows that.
    var enclosed: EnclosedCall?
    var store: any LeaseStore
    /// Told of the call, if somebody wants to know.
    var observer: CallObserver?

    /// The same call, without an observer.
    var unobserved: GroupCall {
        var copy = self
        copy.observer = nil
        return copy
    }

    /// The same, which begins a flight or does not.
    func starting(_ isStarter: Bool) -> GroupCall {
        var copy = self
        copy.isStarter = isStarter
        return copy
    }

    /// Tells of the call's end.
    func end(_ outcome: Outcome<ErasedValue>) -> Outcome<ErasedValue> {
        self.observer?.end(outcome)
        return outcome
    }

    /// What a run in this process is to the call after a flight that came to this; `nil` if there is to be none.
    func localRun(after settlement: Settlement) -> Coordination? {
        switch settlement {
        case .unavailable(let error):
            self.unavailable.runsLocally(after: error) || Planted.bug("unavailable-policy-ignored") ? .degraded : nil
        case .finished(let flight): flight.isUndecodable && self.undecodable == .runLocally ? .undecodable : nil
        case .canceled: nil
        }
    }

    func outcome(of settled: Settled) -> Outcome<ErasedValue> {
        switch settled.settlement {
        case .canceled(let reason):
            return .canceled(reason)
        case .unavailable(let error):
            return self.unavailable(because: error)
        case .finished(let flight):
            if let error = flight.unverified, self.unavailable == .fail, !Planted.bug("unverified-result-told") {
                return self.unavailable(because: error)
            }
            let role: FlightRole =
                switch flight.source {
                case .thisProcess: self.isStarter || Planted.bug("subscriber-told-that-it-led") ? .leader : .subscriber
                case .remote: .follower
                case .reused: .reused
                }
            self.observer?.resumed(by: flight, as: role)
            let isSharedHere = settled.isShared && !Planted.bug("sharing-in-the-process-not-told")
            return .complete(
                Completion(
                    result: flight.result,
                    isShared: isSharedHere || flight.isSharedElsewhere,
                    role: role,
                    source: flight.source,
                    token: flight.token,
                    leader: flight.leader,
                    waited: self.waited,
                    attempts: flight.attempts,
                    coordination: self.localRun ?? flight.coordination
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

/// A call that waits for a flight: everything but the parking of its task.
package struct CallWait: Sendable {
    package let driver: FlightDriver
    package let seat: SeatID
    let call: GroupCall
    /// What the call is to a group that only observes.
    var observed: ObservedCall?

    init(_ driver: FlightDriver, _ seat: SeatID, _ call: GroupCall, observed: ObservedCall? = nil) {
        self.driver = driver
        self.seat = seat
        self.call = call
        self.observed = observed
    }

    /// The wait begins: for no longer than the call's limit. The timer is for ``end(_:_:_:_:)``.
    package func begin(_ feed: ProgressFeed?, _ stream: (any StreamFeeding)? = nil) -> LeaseTimer? {
        if let feed { self.driver.attach(feed) }
        if let stream { self.driver.attach(stream) }
        if let enclosed = self.call.enclosed {
            self.driver.watch(enclosed, isStarter: self.call.isStarter) { [driver, seat] in driver.leave(seat) }
        }
        return self.call.deadline.map { deadline in
            self.call.store.clock.schedule(at: deadline) { [driver, seat] in driver.leave(seat) }
        }
    }

    /// The wait is over. Says what the caller learned by it.
    package func end(
        _ awakening: Awakening,
        _ timer: LeaseTimer?,
        _ feed: ProgressFeed?,
        _ stream: (any StreamFeeding)? = nil
    ) -> Settled {
        if let timer { self.call.store.clock.cancel(timer) }
        if let feed { self.driver.detach(feed) }
        if let stream { self.driver.detach(stream) }
        if let enclosed = self.call.enclosed { self.driver.forget(enclosed) }
        switch awakening {
        case .settled(let settled): return settled
        case .left, .decode:
            let reason = self.call.enclosed?.refusal.map { Cancellation.refused($0) } ?? .waitLimitReached
            return Settled(settlement: .canceled(reason), isShared: false)
        case .canceled: return Settled(settlement: .canceled(.callerCanceled), isShared: false)
        }
    }
}

/// What a call comes to next.
package enum CallStep: Sendable {
    /// It waits for a flight; ``GroupCore/resumed(_:_:work:)`` says what comes after.
    case waits(CallWait)
    case ended(Outcome<ErasedValue>)
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
