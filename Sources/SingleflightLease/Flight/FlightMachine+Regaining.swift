import Singleflight

/// A leader whose lease is gone, perhaps with nobody else leading: it asks for another one, and its work goes on
/// meanwhile.
///
/// So a store that loses its data costs no caller its result. The work is canceled only if somebody else leads.
///
/// A value without I/O: events and the time come in, ``FlightAction``s go out. It ends by telling, or by handing over
/// to ``Leading`` or ``Following``.
package struct Regaining: Sendable {
    /// What a leader leaves behind.
    package struct Loss: Sendable {
        /// The lease that is gone.
        package var token: LeaseToken
        package var attempt: Int
        /// When the work counts as hung.
        package var tooLongAt: LeaseInstant
        /// The result, if the work has ended.
        package var outcome: StoredOutcome?
    }

    private enum State {
        /// The request is at the store. → waiting, ended
        case asking
        /// The request is to be sent again. → asking, ended
        case waiting(until: LeaseInstant)
        /// Somebody leads, or the callers were told, or nobody is left. Final.
        case ended
    }

    private let terms: FlightTerms
    private var token: LeaseToken
    package private(set) var loss: Loss
    private var state = State.asking
    /// The first sending that may have been carried out, or may yet be: the lease is counted from no later.
    private var sentAt: LeaseInstant
    private var lastSentAt: LeaseInstant
    private var mayHaveExecuted = false
    private var isRepeated = false
    private var backoff: RetryDelay
    /// By then the callers are told, with a lease or without; `nil` for as long as the work goes on.
    private var giveUpAt: LeaseInstant?
    /// What earlier requests, under other tokens, may yet be granted.
    package private(set) var earlier = Debts()
    /// What the request may yet be granted when this has ended.
    package private(set) var debt: HandingBack.Debt?
    package private(set) var isReleasing = false

    package init(
        after loss: Loss,
        terms: FlightTerms,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) {
        self.loss = loss
        self.terms = terms
        self.token = LeaseToken(using: &generator)
        self.sentAt = now
        self.lastSentAt = now
        self.backoff = terms.leaderBackoff
        let mayWorkAlone = terms.outlivesLease && loss.outcome == nil
        self.giveUpAt = mayWorkAlone ? nil : now.advanced(by: terms.commandTimeout)
    }

    package var isFinal: Bool {
        if case .ended = self.state { true } else { false }
    }

    /// Whether the work goes on, and its result is wanted.
    package var isWorking: Bool { !self.isFinal && self.loss.outcome == nil }

    // MARK: - What happens

    /// What to do after an event; a lease is for ``Leading``, another process's lease for ``Following``.
    package enum Step: Sendable {
        case actions(FlightActions)
        case lead(Following.Grant)
        case follow(LeaseToken, remaining: Duration, wasWorking: Bool)
    }

    /// The first actions. To be called once.
    package func start() -> FlightActions {
        [self.send(isRepetition: false), self.wake]
    }

    package mutating func handle(
        _ event: FlightEvent,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> Step {
        if case .replied(let reply, .enter(let token, _, _)) = event {
            guard token == self.token else { return .actions([]) }
            return self.entered(reply.as(EnterRequest.self), now: now, using: &generator)
        }
        guard !self.isFinal else { return .actions([]) }
        switch event {
        case .timer: return .actions(self.timerFired(now: now, using: &generator))
        case .operationEnded(let outcome): return .actions(self.operationEnded(outcome, now: now))
        case .leaderLeft(let reason): return .actions(self.leaderLeft(reason: reason))
        case .abandoned: return .actions(self.abandoned())
        case .heard(.resumed): return .actions(self.inboxResumed(now: now, using: &generator))
        case .heard(.shuttingDown): return .actions(self.shutDown())
        case .start, .replied, .heard(.announced), .heard(.interrupted), .progressed, .offered: return .actions([])
        }
    }

    private mutating func entered(
        _ reply: Result<EnterReply, LeaseStoreError>,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> Step {
        guard case .asking = self.state else { return .actions(self.answeredLate(reply)) }
        switch reply {
        case .success(.lead(let attempt)):
            if now >= self.terms.deadline(sentAt: self.sentAt) {
                // The lease counts from the first sending that may have been carried out, and may have run out by now.
                return .actions(self.askAnew(now: now, using: &generator))
            }
            self.state = .ended
            return .lead(
                Following.Grant(
                    token: self.token,
                    sentAt: self.sentAt,
                    attempt: attempt,
                    isAbandoned: false,
                    debt: self.mayHaveExecuted ? self.possibleDebt : nil
                )
            )
        case .success(.follow(let leader, _)) where self.earlier[leader] != nil:
            // Its own lease, of an earlier request: that is handed back, and asked for again under this one's token.
            let handBack = self.earlier[leader].map { FlightActions($0.handBack) } ?? []
            let error = LeaseStoreError(.unavailable, "an earlier request for the lease holds it")
            return .actions(handBack + self.retry(error, now: now, using: &generator))
        case .success(.follow(let leader, let remaining)):
            let wasWorking = self.isWorking && !Planted.bug("loser-works-on-beside-the-leader")
            self.state = .ended
            if self.mayHaveExecuted { self.debt = self.possibleDebt }
            return .follow(leader, remaining: remaining, wasWorking: wasWorking)
        case .success(.reuse(let token, let outcome, _)):
            let stops = self.stopWork(.leaseLost)
            self.state = .ended
            if self.mayHaveExecuted { self.debt = self.possibleDebt }
            let isReused = token != self.token
            return .actions(stops + [.tell(.followed(token, outcome, isReused: isReused, takeovers: 0))])
        case .success(.late):
            let error = LeaseStoreError(.timedOut, "the request reached the store too late")
            return .actions(self.retry(error, now: now, using: &generator))
        case .failure(let error):
            self.mayHaveExecuted = self.mayHaveExecuted || error.mayHaveExecuted
            return .actions(self.retry(error, now: now, using: &generator))
        }
    }

    /// Nobody waits for the answer any more.
    private func answeredLate(_ reply: Result<EnterReply, LeaseStoreError>) -> FlightActions {
        guard self.isFinal else { return [] }
        return HandingBack.answeredLate(reply, to: self.token)
    }

    // MARK: - Asking again

    private mutating func retry(
        _ error: LeaseStoreError,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        let retryAt = now.advanced(by: self.backoff.next(using: &generator))
        if let giveUpAt, !error.isTransient || retryAt >= giveUpAt {
            return self.giveUp(because: error)
        }
        self.state = .waiting(until: retryAt)
        return Planted.bug("other-lease-asked-for-once") ? [] : [self.wake]
    }

    private mutating func timerFired(
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        if self.isWorking, now >= self.loss.tooLongAt, !Planted.bug("hung-operation-goes-on-without-a-lease") {
            let stops = self.stopWork(.tooLong)
            return stops + self.end(.tooLong(self.loss.token, attempt: self.loss.attempt))
        }
        if let giveUpAt, now >= giveUpAt {
            return self.giveUp(because: LeaseStoreError(.timedOut, "no answer within the command timeout"))
        }
        guard case .waiting(let until) = self.state, now >= until else { return [self.wake] }
        if self.mayHaveExecuted, now >= self.terms.deadline(sentAt: self.sentAt),
            !Planted.bug("token-asked-for-longer-than-its-lease")
        {
            return self.askAnew(now: now, using: &generator)
        }
        self.state = .asking
        if !self.mayHaveExecuted || Planted.bug("other-lease-counted-too-long") { self.sentAt = now }
        self.isRepeated = self.isRepeated || self.mayHaveExecuted
        self.lastSentAt = now
        return [self.send(isRepetition: true), self.wake]
    }

    /// Asks under a new token: what was granted under the one before may be over by now, and a token leads once. It may
    /// also be held yet, and is handed back first.
    private mutating func askAnew(
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        let debt = self.possibleDebt
        self.earlier.add(debt, now: now)
        self.token = LeaseToken(using: &generator)
        (self.sentAt, self.lastSentAt) = (now, now)
        (self.mayHaveExecuted, self.isRepeated) = (false, false)
        self.state = .asking
        return [debt.handBack, self.send(isRepetition: false), self.wake]
    }

    private func send(isRepetition: Bool) -> FlightAction {
        .send(
            .enter(
                self.token,
                isRepetition: isRepetition,
                until: self.lastSentAt.advanced(by: self.terms.commandTimeout)
            )
        )
    }

    private var wake: FlightAction {
        var next = self.isWorking ? self.loss.tooLongAt : nil
        if let giveUpAt { next = min(next ?? giveUpAt, giveUpAt) }
        if case .waiting(let until) = self.state { next = min(next ?? until, until) }
        return .wake(at: next ?? self.loss.tooLongAt)
    }

    private mutating func inboxResumed(
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        guard case .waiting = self.state else { return [] }
        self.state = .waiting(until: now.afterReconnect(using: &generator))
        return [self.wake]
    }

    // MARK: - The work's end, and the callers'

    private mutating func operationEnded(_ outcome: StoredOutcome, now: LeaseInstant) -> FlightActions {
        guard self.isWorking else { return [] }
        self.loss.outcome = outcome
        let longest = now.advanced(by: self.terms.commandTimeout)
        self.giveUpAt = min(self.giveUpAt ?? longest, longest)
        return [self.wake]
    }

    /// No lease can be had in time: a result is told without the store's word; without a result there is none to be
    /// had.
    private mutating func giveUp(because error: LeaseStoreError) -> FlightActions {
        guard self.isWorking else {
            return self.end(.led(self.loss.token, .unverified(error), attempt: self.loss.attempt))
        }
        let stops = self.stopWork(.leaseLost)
        return stops + self.end(.unavailable(error))
    }

    private mutating func leaderLeft(reason: String?) -> FlightActions {
        guard self.isWorking else { return [] }
        return self.end(reason.map { .leaderCanceled(reason: $0) } ?? .leaderLeft)
    }

    private mutating func abandoned() -> FlightActions {
        let stops = self.stopWork(.abandoned)
        return stops + self.end(nil)
    }

    private mutating func shutDown() -> FlightActions {
        let stops = self.stopWork(.shutDown)
        // What is handed back now is handed back once: nothing can be sent later.
        defer { (self.debt, self.earlier) = (nil, Debts()) }
        return stops + self.end(.shutDown)
    }

    private func stopWork(_ loss: OperationLoss) -> FlightActions {
        self.isWorking ? [.cancelOperation(loss)] : []
    }

    /// The request may have been carried out without our knowing, or may yet be: what it led to is handed back.
    private mutating func end(_ end: FlightEnd?) -> FlightActions {
        let actions: FlightActions = end.map { [.tell($0)] } ?? []
        var mayBeGranted = self.mayHaveExecuted
        if case .asking = self.state { mayBeGranted = true }
        self.state = .ended
        guard mayBeGranted, !Planted.bug("other-lease-not-handed-back") else { return actions }
        let debt = self.possibleDebt
        self.debt = debt
        self.isReleasing = true
        return actions + [debt.handBack]
    }

    private var possibleDebt: HandingBack.Debt {
        HandingBack.Debt(
            token: self.token,
            validUntil: self.lastSentAt.advanced(by: self.terms.commandTimeout),
            endsAt: self.lastSentAt.advanced(by: self.terms.lease.duration),
            isRepeated: self.isRepeated
        )
    }
}
