import Singleflight

/// Hands back what a process may hold without knowing it: the lease of a request to lead whose answer never came.
///
/// Such a request may be carried out after its sender gave it up, by a server that stood still or out of some buffer.
/// Its lease would be led by nobody. So it is taken back, and that is repeated: while it is not answered, and, since
/// the request may still come, also after it was, at growing intervals, until the lease's time is over. Only the
/// release of the lease that the only request was granted ends it: if the request was repeated, each sending may be
/// granted a lease of its own.
///
/// A value without I/O: events and the time come in, ``FlightAction``s go out. The callers have been told before.
package struct HandingBack: Sendable {
    /// What may be held.
    package struct Debt: Sendable, Equatable {
        package var token: LeaseToken
        /// Until then a request that the store can tell the age of may still be carried out.
        package var validUntil: LeaseInstant
        /// After that the lease has ended by itself, if it ever began when it should have.
        package var endsAt: LeaseInstant
        /// Whether the request was sent more than once.
        package var isRepeated: Bool
        /// An operation has begun under the token: what is left of its lease is given up, since nobody may be told that
        /// nothing ran.
        package var hasRun = false

        package init(token: LeaseToken, validUntil: LeaseInstant, endsAt: LeaseInstant, isRepeated: Bool) {
            self.token = token
            self.validUntil = validUntil
            self.endsAt = endsAt
            self.isRepeated = isRepeated
        }

        /// Takes back what the request led to: this process is no waiter, and leads no longer.
        var handBack: FlightAction { .send(.release(self.token, self.hasRun ? .giveUp : .withdraw)) }

        /// The same debt, after an operation has begun under `token`.
        func after(running token: LeaseToken) -> Debt {
            var debt = self
            debt.hasRun = debt.hasRun || self.token == token
            return debt
        }
    }

    /// What the store granted to a request that is not wanted any more is handed back.
    ///
    /// - Parameter token: the token that the request was sent with.
    static func answeredLate(_ reply: Result<EnterReply, LeaseStoreError>, to token: LeaseToken) -> FlightActions {
        switch reply {
        case .success(.lead): [.send(.release(token, .withdraw))]
        case .success(.follow(let leader, _)): [.send(.leave(leader))]
        case .success(.reuse), .success(.late), .failure: []
        }
    }

    private enum State {
        /// The next release is to be sent when the timer fires. → releasing, ended
        case waiting
        /// A release is under way; another must follow if the lease was granted meanwhile. → waiting, ended
        case releasing(mustRepeat: Bool)
        /// Nothing more to do. Final.
        case ended
    }

    private let debt: Debt
    private var state: State
    /// For requests that fail.
    private var backoff: RetryDelay
    /// The time to wait after an answer, as long as there may be something to hand back later.
    private var interval: Duration

    /// - Parameter isReleasing: whether a release was asked for already.
    package init(_ debt: Debt, isReleasing: Bool, commandTimeout: Duration) {
        self.debt = debt
        self.state = isReleasing ? .releasing(mustRepeat: false) : .waiting
        self.backoff = RetryDelay(first: commandTimeout / 10, limit: commandTimeout)
        self.interval = commandTimeout
    }

    package var isFinal: Bool {
        if case .ended = self.state { true } else { false }
    }

    /// The first actions. To be called once.
    package func start() -> FlightActions {
        switch self.state {
        case .waiting: [.wake(at: self.debt.validUntil)]
        case .releasing, .ended: []
        }
    }

    package mutating func handle(
        _ event: FlightEvent,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch event {
        case .replied(let reply, .release): self.released(reply.as(ReleaseRequest.self), now: now, using: &generator)
        case .replied(let reply, .enter): self.entered(reply.as(EnterRequest.self))
        case .heard(.resumed): self.inboxResumed(now: now, using: &generator)
        case .heard(.shuttingDown): self.shutDown()
        case .timer: self.timerFired()
        case .replied, .heard, .start, .operationEnded, .progressed, .leaderLeft, .offered, .abandoned: []
        }
    }

    private mutating func timerFired() -> FlightActions {
        switch self.state {
        case .waiting: self.release()
        case .releasing, .ended: []
        }
    }

    private mutating func release() -> FlightActions {
        self.state = .releasing(mustRepeat: false)
        return [self.debt.handBack]
    }

    private mutating func released(
        _ reply: Result<ReleaseReply, LeaseStoreError>,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        guard case .releasing(let mustRepeat) = self.state else { return [] }
        if mustRepeat {
            return self.release()
        }
        let next: LeaseInstant
        switch reply {
        case .success(.released) where !self.debt.isRepeated, .success(.awaited):
            return self.end()
        case .success(.notHeld) where Planted.bug("not-held-taken-as-handed-back"):
            return self.end()
        case .success(.released), .success(.notHeld):
            next = now.advanced(by: self.interval)
            self.interval = self.interval * 2
        case .failure(let error):
            guard error.isTransient, !Planted.bug("handed-back-once") else { return self.end() }
            next = now.advanced(by: self.backoff.next(using: &generator))
        }
        guard now < self.debt.endsAt else { return self.end() }
        self.state = .waiting
        return [.wake(at: min(next, self.debt.endsAt))]
    }

    /// An answer came after all, to a request that was given up.
    private mutating func entered(_ reply: Result<EnterReply, LeaseStoreError>) -> FlightActions {
        switch (self.state, reply) {
        case (.waiting, .success(.lead)):
            return self.release()
        case (.releasing, .success(.lead)):
            self.state = .releasing(mustRepeat: true)
            return []
        case (.ended, .success(.lead)), (_, .success(.follow)), (_, .success(.reuse)), (_, .success(.late)),
            (_, .failure):
            return Self.answeredLate(reply, to: self.debt.token)
        }
    }

    /// The store can be reached again.
    private func inboxResumed(now: LeaseInstant, using generator: inout some RandomNumberGenerator) -> FlightActions {
        switch self.state {
        case .waiting: [.wake(at: now.afterReconnect(using: &generator))]
        case .releasing, .ended: []
        }
    }

    /// This process shuts down: once more, and that is all.
    private mutating func shutDown() -> FlightActions {
        switch self.state {
        case .waiting: self.release() + self.end()
        case .releasing: self.end()
        case .ended: []
        }
    }

    private mutating func end() -> FlightActions {
        self.state = .ended
        return []
    }
}
