import Singleflight

/// A process that follows a flight and never leads one: it asks the store which flight the key has.
///
/// A value without I/O: events and the time come in, ``FlightAction``s go out. It only reads: it holds nothing at the
/// store that would have to be handed back. It ends by telling, or by handing what it found to ``Following``.
package struct Looking: Sendable {
    private enum State {
        /// Nothing was sent. → asking
        case idle
        /// The question is under way; it is not repeated after that time. → pausing, ended
        case asking(until: LeaseInstant)
        /// The question failed, and the timer will repeat it. → asking, ended
        case pausing(until: LeaseInstant)
        /// Found, told or left. Final.
        case ended
    }

    /// What to do after an event; what was found is for ``Following``.
    package enum Step: Sendable {
        case actions(FlightActions)
        /// There is a flight, whose lease runs out after `remaining` unless it is renewed.
        case follow(LeaseToken, remaining: Duration)
    }

    private let commandTimeout: Duration
    private var state = State.idle
    private var backoff: RetryDelay

    package init(terms: FlightTerms) {
        self.commandTimeout = terms.commandTimeout
        self.backoff = terms.followerBackoff
    }

    package var isFinal: Bool {
        switch self.state {
        case .ended: true
        case .idle, .asking, .pausing: false
        }
    }

    package mutating func handle(
        _ event: FlightEvent,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> Step {
        switch (self.state, event) {
        case (.ended, _):
            return .actions([])
        case (.idle, .start):
            return self.ask(until: now.advanced(by: self.commandTimeout))
        case (.pausing(let giveUpAt), .timer):
            return self.ask(until: giveUpAt)
        case (.asking(let giveUpAt), .replied(let reply, to: .look)):
            return self.learned(reply.as(InspectRequest.self), until: giveUpAt, now: now, using: &generator)
        case (_, .heard(.shuttingDown)):
            return self.end(with: .shutDown)
        case (_, .abandoned):
            self.state = .ended
            return .actions([])
        case (_, .start), (_, .timer), (_, .replied), (_, .heard), (_, .operationEnded), (_, .progressed),
            (_, .leaderLeft), (_, .offered):
            return .actions([])
        }
    }

    private mutating func ask(until giveUpAt: LeaseInstant) -> Step {
        self.state = .asking(until: giveUpAt)
        return .actions([.send(.look)])
    }

    private mutating func learned(
        _ reply: Result<LeaseInspection, LeaseStoreError>,
        until giveUpAt: LeaseInstant,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> Step {
        switch reply {
        case .success(let inspection):
            guard let lease = inspection.lease else {
                return Planted.bug("onlooker-not-told-that-there-is-no-flight") ? .actions([]) : self.end(with: .absent)
            }
            self.state = .ended
            return .follow(lease.token, remaining: lease.remaining)
        case .failure(let error):
            let retryAt = now.advanced(by: self.backoff.next(using: &generator))
            guard error.isTransient, retryAt < giveUpAt else {
                return self.end(with: .unavailable(error))
            }
            self.state = .pausing(until: giveUpAt)
            return .actions([.wake(at: retryAt)])
        }
    }

    private mutating func end(with end: FlightEnd) -> Step {
        self.state = .ended
        return .actions([.tell(end)])
    }
}
