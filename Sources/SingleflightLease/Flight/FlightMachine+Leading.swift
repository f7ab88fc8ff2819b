import Singleflight

/// A process that leads a flight: it holds the lease, renews it while the operation runs, and hands in the result.
///
/// A value without I/O: events and the time come in, ``FlightAction``s go out. Losing the lease, or not knowing any
/// more that it is held, cancels the operation at once; a result is believed only once the store accepted it.
package struct Leading: Sendable {
    private enum State {
        /// Everybody left before the operation began; the store is asked whether somebody waits elsewhere. → leading,
        /// ended
        case confirming(Held)
        /// The operation runs. → completing, ended
        case leading(Held)
        /// The operation has ended, and the store is asked to accept its result. → ended
        case completing(Completing)
        /// Nothing more to do. Final.
        case ended
    }

    private struct Held {
        /// Until then the lease is believed in.
        var deadline: LeaseInstant
        var tooLongAt: LeaseInstant
        var nextRenewal: LeaseInstant
        var renewals = 0
        /// Why the store has not renewed the lease since it last did, if it was asked to.
        var failure: LeaseStoreError?
        /// When the renewal that is under way was sent.
        var renewalSentAt: LeaseInstant?
        /// When the last request was sent that told the store of the progress.
        var toldAt: LeaseInstant
        /// Whether the operation has said more of its progress since.
        var hasNews = false
        /// Whether a process elsewhere may wait for it, as far as the last renewal told.
        var mayBeAwaited = true
        var backoff: RetryDelay
        /// Whether the local callers all left.
        var isAbandoned = false
        /// Whether the store is being asked to release the lease unless somebody waits.
        var isReleasing = false
        /// When the last such request was sent, unless the store has said since that the lease is held.
        var maybeReleasedAt: LeaseInstant?
    }

    private struct Completing {
        var outcome: StoredOutcome
        /// Whether the local callers still are to be told.
        var mustResolve: Bool
        var tooLongAt: LeaseInstant
        /// What to tell them once the store accepted the outcome, if it is not the operation's result.
        var override: FlightEnd?
        /// Whether the request is at the store; otherwise the timer will send it again.
        var isSent = true
        /// Whether an earlier sending may have been carried out.
        var mayHaveExecuted = false
        var backoff: RetryDelay
        /// By then the local callers are told, with the store's verdict or without.
        var verdictBy: LeaseInstant
        /// After that the store has forgotten the lease in any case.
        var giveUpAt: LeaseInstant
    }

    package let token: LeaseToken
    package let attempt: Int
    private let terms: FlightTerms
    private let outcomes: FlightMachine.Outcomes
    private var state: State
    /// What may be left to be handed back when the machine has ended: a lease under which nothing ran.
    package private(set) var debt: HandingBack.Debt?
    /// The lease is gone, perhaps with nobody else leading: ``Regaining`` takes over. Final.
    package private(set) var loss: Regaining.Loss?

    /// Goes on under another lease than before.
    package init(
        again grant: Following.Grant,
        after loss: Regaining.Loss,
        terms: FlightTerms,
        outcomes: FlightMachine.Outcomes
    ) {
        self.init(grant: grant, terms: terms, outcomes: outcomes, now: grant.sentAt)
        if case .leading(var leading) = self.state {
            leading.tooLongAt = loss.tooLongAt
            self.state = .leading(leading)
        }
    }

    package init(grant: Following.Grant, terms: FlightTerms, outcomes: FlightMachine.Outcomes, now: LeaseInstant) {
        self.token = grant.token
        self.attempt = grant.attempt
        self.terms = terms
        self.outcomes = outcomes
        let leading = Held(
            deadline: terms.deadline(sentAt: grant.sentAt),
            tooLongAt: now.advanced(by: terms.maximumFlight),
            nextRenewal: grant.sentAt.advanced(by: terms.renewalInterval),
            toldAt: grant.sentAt,
            backoff: terms.leaderBackoff,
            isAbandoned: grant.isAbandoned
        )
        self.state = grant.isAbandoned ? .confirming(leading) : .leading(leading)
    }

    package var isFinal: Bool {
        if case .ended = self.state { true } else { false }
    }

    /// Whether the lease is still believed to be held at `now`. Once the store was asked to release it unless somebody
    /// waits, it may be somebody else's.
    package func isCurrent(now: LeaseInstant) -> Bool {
        switch self.state {
        case .confirming(let leading), .leading(let leading): now < leading.deadline && leading.maybeReleasedAt == nil
        case .completing, .ended: false
        }
    }

    /// Until when the lease is believed in; `nil` once that does not matter any more.
    package var deadline: LeaseInstant? {
        switch self.state {
        case .confirming(let leading), .leading(let leading): leading.deadline
        case .completing, .ended: nil
        }
    }

    /// Whether the operation goes on, and its result is wanted.
    package var isWorking: Bool {
        if case .leading = self.state { true } else { false }
    }

    // MARK: - What happens

    package mutating func handle(
        _ event: FlightEvent,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch event {
        case .replied(let reply, let request): self.replied(reply, to: request, now: now, using: &generator)
        case .heard(.announced(let announcement)): self.announced(announcement, now: now)
        case .heard(.resumed): self.inboxResumed(now: now, using: &generator)
        case .heard(.shuttingDown): self.shutDown()
        case .timer: self.timerFired(now: now)
        case .operationEnded(let outcome): self.operationEnded(outcome, now: now)
        case .progressed: self.progressed()
        case .leaderLeft(let reason): self.leaderLeft(reason: reason)
        case .abandoned: self.abandoned(now: now)
        case .heard(.interrupted), .start, .offered: []
        }
    }

    private mutating func replied(
        _ reply: Result<LeaseReply, LeaseStoreError>,
        to request: FlightRequest,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch request {
        case .renew(self.token, _, _): self.renewed(reply.as(RenewRequest.self), now: now, using: &generator)
        case .complete(self.token, _): self.completed(reply.as(CompleteRequest.self), now: now, using: &generator)
        case .release(self.token, _): self.released(reply.as(ReleaseRequest.self), now: now)
        // An answer may be about the lease before this one.
        case .renew, .complete, .release: []
        case .look, .enter, .poll, .leave, .revoke: []
        }
    }

    /// The first actions. To be called once.
    package mutating func start() -> FlightActions {
        switch self.state {
        case .confirming(let leading):
            return [.send(.release(self.token, .unlessAwaited)), self.wake(leading)]
        case .leading(let leading):
            return FlightActions(.startOperation(self.token), self.wake(leading))
        case .completing, .ended:
            return []
        }
    }

    /// The first actions where the work has begun before. To be called once.
    ///
    /// - Parameter outcome: the work's result, if it has ended.
    package mutating func goOn(with outcome: StoredOutcome?, now: LeaseInstant) -> FlightActions {
        guard case .leading(let leading) = self.state else { return [] }
        guard let outcome else { return [self.wake(leading)] }
        return self.complete(outcome, override: nil, leading: leading, now: now)
    }

    // MARK: - Holding the lease

    private mutating func timerFired(now: LeaseInstant) -> FlightActions {
        switch self.state {
        case .confirming(let leading):
            return now >= leading.deadline ? self.lose(leading, because: nil) : [self.wake(leading)]
        case .leading(var leading):
            if now >= leading.deadline, !self.terms.outlivesLease, !Planted.bug("leader-believes-for-ever") {
                return self.expire(leading)
            }
            if now >= leading.tooLongAt, !Planted.bug("hung-operation-renewed-for-ever") {
                return (Planted.bug("operation-canceled-twice") ? [.cancelOperation(.tooLong)] : [])
                    + [.cancelOperation(.tooLong)]
                    + self.complete(
                        self.outcomes.tooLong,
                        override: .tooLong(self.token, attempt: self.attempt),
                        leading: leading,
                        now: now
                    )
            }
            guard leading.renewalSentAt == nil, now >= self.renewalTime(leading) else {
                return [self.wake(leading)]
            }
            return self.renew(&leading, now: now)
        case .completing(var completing):
            guard !completing.isSent else { return [] }
            completing.isSent = true
            self.state = .completing(completing)
            return [.send(.complete(self.token, completing.outcome))]
        case .ended:
            return []
        }
    }

    private mutating func renew(_ leading: inout Held, now: LeaseInstant) -> FlightActions {
        leading.renewalSentAt = now
        leading.toldAt = now
        leading.hasNews = false
        self.state = .leading(leading)
        return [
            .send(.renew(self.token, renewals: leading.renewals + 1, isAbandoned: leading.isAbandoned)),
            self.wake(leading),
        ]
    }

    private mutating func renewed(
        _ reply: Result<RenewReply, LeaseStoreError>,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch self.state {
        case .leading(var leading):
            guard let sentAt = leading.renewalSentAt else { return [] }
            leading.renewalSentAt = nil
            switch reply {
            case .success(.renewed(let waiters)):
                leading.renewals += 1
                leading.failure = nil
                if let releasedAt = leading.maybeReleasedAt, sentAt > releasedAt { leading.maybeReleasedAt = nil }
                leading.backoff = self.terms.leaderBackoff
                let countedFrom = Planted.bug("renewal-counted-from-the-reply") ? now : sentAt
                leading.deadline = max(leading.deadline, self.terms.deadline(sentAt: countedFrom))
                leading.nextRenewal = sentAt.advanced(by: self.terms.renewalInterval)
                leading.mayBeAwaited = waiters > 0
                if leading.isAbandoned, waiters == 0, !leading.isReleasing {
                    return self.releaseUnlessAwaited(leading, now: now)
                }
            case .success(.lost) where Planted.bug("lost-renewal-ignored"):
                break
            case .success(.lost(let reason)):
                return self.gone(leading, because: Self.told(reason))
            case .success(.expired):
                return self.gone(leading, because: .leaseExpired)
            case .failure(let error):
                // Whatever the error: only the store's word or the deadline ends a lease early.
                leading.failure = error
                leading.nextRenewal = now.advanced(by: leading.backoff.next(using: &generator))
            }
            self.state = .leading(leading)
            return [self.wake(leading)]
        case .confirming, .completing, .ended:
            return []
        }
    }

    private mutating func announced(_ announcement: Announcement, now: LeaseInstant) -> FlightActions {
        switch self.state {
        case .leading(var leading):
            guard announcement.token == self.token else { return [] }
            switch announcement.news {
            case .outcome(.canceled(let reason)):
                return self.gone(leading, because: reason)
            case .outcome(.value), .outcome(.failure), .hint:
                return leading.renewalSentAt == nil ? self.renew(&leading, now: now) : []
            case .unawaited:
                return leading.isAbandoned && !leading.isReleasing ? self.releaseUnlessAwaited(leading, now: now) : []
            case .progress, .chunk:
                return []
            }
        case .confirming, .completing, .ended:
            return []
        }
    }

    /// The inbox is connected again: that the lease was revoked may have been announced meanwhile.
    private mutating func inboxResumed(
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch self.state {
        case .leading(var leading):
            leading.nextRenewal = min(leading.nextRenewal, now.afterReconnect(using: &generator))
            self.state = .leading(leading)
            return [self.wake(leading)]
        case .confirming, .completing, .ended:
            return []
        }
    }

    /// A revocation is told as such, whether its announcement comes first or the store's answer. Whatever else ended
    /// the flight, this process knows enough: it lost its lease.
    private static func told(_ reason: CanceledFlight?) -> CanceledFlight? {
        if case .revoked = reason { reason } else { nil }
    }

    /// By the store's word the lease is gone. Unless the flight was revoked, nobody else need be leading.
    private mutating func gone(_ leading: Held, because reason: CanceledFlight?) -> FlightActions {
        guard self.mayLeadAgain(after: reason), !leading.isAbandoned else { return self.lose(leading, because: reason) }
        return self.leadAgain(tooLongAt: leading.tooLongAt, with: nil)
    }

    private func mayLeadAgain(after reason: CanceledFlight?) -> Bool {
        if case .revoked = reason { false } else { self.terms.leadsAgain }
    }

    private mutating func leadAgain(tooLongAt: LeaseInstant, with outcome: StoredOutcome?) -> FlightActions {
        self.state = .ended
        self.loss = Regaining.Loss(token: self.token, attempt: self.attempt, tooLongAt: tooLongAt, outcome: outcome)
        return []
    }

    /// The lease is over for want of a renewal. A group that says that a lost lease ends the flight says what everybody
    /// is told; else it is the store that cannot be asked, and each caller's policy says what that means.
    private mutating func expire(_ leading: Held) -> FlightActions {
        guard self.terms.leadsAgain, let failure = leading.failure, !leading.isAbandoned else {
            return self.lose(leading, because: .leaseExpired)
        }
        self.state = .ended
        return [.cancelOperation(.leaseLost), .tell(.unavailable(failure))]
    }

    /// - Parameter reason: the flight's end as far as it is known.
    private mutating func lose(_ leading: Held, because reason: CanceledFlight?) -> FlightActions {
        self.state = .ended
        let isAbandoned = leading.isAbandoned && !Planted.bug("abandoned-flight-still-told")
        return [.cancelOperation(.leaseLost)] + (isAbandoned ? [] : [.tell(.leaseLost(self.token, reason))])
    }

    private func wake(_ leading: Held) -> FlightAction {
        // Nothing runs while it is still being confirmed that somebody waits: nothing to renew for, nothing that hangs.
        guard case .leading = self.state else { return .wake(at: leading.deadline) }
        var next = self.terms.outlivesLease ? leading.tooLongAt : min(leading.deadline, leading.tooLongAt)
        if leading.renewalSentAt == nil {
            next = min(next, self.renewalTime(leading))
        }
        return .wake(at: next)
    }

    /// A renewal comes early if it has something to tell that somebody may wait for.
    private func renewalTime(_ leading: Held) -> LeaseInstant {
        guard leading.hasNews, leading.mayBeAwaited else { return leading.nextRenewal }
        return min(leading.nextRenewal, leading.toldAt.advanced(by: self.terms.progressInterval))
    }

    /// The operation said how far it is.
    private mutating func progressed() -> FlightActions {
        switch self.state {
        case .leading(var leading):
            // However chatty it is, one timer and one renewal tell the latest.
            guard !leading.hasNews else { return [] }
            leading.hasNews = true
            self.state = .leading(leading)
            return [self.wake(leading)]
        case .confirming, .completing, .ended:
            return []
        }
    }

    /// The caller that leads by hand goes away, or ends the flight for all callers for a reason.
    private mutating func leaderLeft(reason: String?) -> FlightActions {
        switch self.state {
        case .leading(let leading):
            self.state = .ended
            let (handBack, resolution): (FlightAction, FlightEnd) =
                if let reason {
                    (.send(.revoke(self.token, reason: reason)), .leaderCanceled(reason: reason))
                } else {
                    (.send(.release(self.token, .giveUp)), .leaderLeft)
                }
            return [handBack] + (leading.isAbandoned ? [] : [.tell(resolution)])
        case .confirming, .completing, .ended:
            return []
        }
    }

    // MARK: - Being abandoned

    /// The last local caller left. The work goes on only for callers elsewhere.
    private mutating func abandoned(now: LeaseInstant) -> FlightActions {
        switch self.state {
        case .leading(var leading):
            leading.isAbandoned = true
            guard !leading.isReleasing else {
                self.state = .leading(leading)
                return []
            }
            return self.releaseUnlessAwaited(leading, now: now)
        case .completing(var completing):
            completing.mustResolve = false
            self.state = .completing(completing)
            return []
        case .confirming, .ended:
            return []
        }
    }

    private mutating func releaseUnlessAwaited(_ leading: Held, now: LeaseInstant) -> FlightActions {
        var leading = leading
        leading.isReleasing = true
        leading.maybeReleasedAt = now
        self.state = .leading(leading)
        return [.send(.release(self.token, .unlessAwaited)), self.wake(leading)]
    }

    private mutating func released(
        _ reply: Result<ReleaseReply, LeaseStoreError>,
        now: LeaseInstant
    ) -> FlightActions {
        switch self.state {
        case .confirming(let leading):
            switch reply {
            case .success(.awaited):
                self.state = .leading(leading)
                return [.startOperation(self.token), self.wake(leading)]
            case .success(.released), .success(.notHeld):
                self.state = .ended
                return []
            case .failure:
                // Somebody may wait elsewhere, for work that never began.
                self.state = .ended
                let endsAt = leading.deadline.advanced(by: self.terms.margin)
                self.debt = HandingBack.Debt(token: self.token, validUntil: now, endsAt: endsAt, isRepeated: false)
                return []
            }
        case .leading(var leading):
            guard leading.isReleasing else { return [] }
            leading.isReleasing = false
            switch reply {
            case .success(.awaited):
                leading.maybeReleasedAt = nil
                // The next renewal says whether somebody waits, and so does the inbox.
                self.state = .leading(leading)
                return []
            case .failure(let error):
                if !error.mayHaveExecuted { leading.maybeReleasedAt = nil }
                // As above; and whether the lease is held.
                self.state = .leading(leading)
                return []
            case .success(.released):
                self.state = Planted.bug("flight-never-finishes") ? self.state : .ended
                return [.cancelOperation(.abandoned)]
            case .success(.notHeld):
                return self.lose(leading, because: nil)
            }
        case .completing, .ended:
            return []
        }
    }

    // MARK: - Completing

    private mutating func operationEnded(_ outcome: StoredOutcome, now: LeaseInstant) -> FlightActions {
        switch self.state {
        case .leading(let leading):
            return self.complete(outcome, override: nil, leading: leading, now: now)
        case .confirming, .completing, .ended:
            // The callers were told already, or nobody is left to tell.
            return []
        }
    }

    private mutating func complete(
        _ outcome: StoredOutcome,
        override: FlightEnd?,
        leading: Held,
        now: LeaseInstant
    ) -> FlightActions {
        let leaseEnd = leading.deadline.advanced(by: self.terms.margin)
        self.state = .completing(
            Completing(
                outcome: outcome,
                mustResolve: !leading.isAbandoned,
                tooLongAt: leading.tooLongAt,
                override: override,
                backoff: self.terms.leaderBackoff,
                verdictBy: now.advanced(by: self.terms.commandTimeout),
                giveUpAt: leaseEnd.advanced(by: self.terms.lease.grace)
            )
        )
        return FlightActions(.send(.complete(self.token, outcome)))
    }

    private mutating func completed(
        _ reply: Result<CompleteReply, LeaseStoreError>,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch self.state {
        case .completing(var completing):
            guard completing.isSent else { return [] }
            completing.isSent = false
            switch reply {
            case .success(.accepted(let waiters)):
                return self.end(completing, with: .led(self.token, .accepted(waiters: waiters), attempt: self.attempt))
            case .success(.duplicate):
                return self.end(completing, with: .led(self.token, .accepted(waiters: nil), attempt: self.attempt))
            case .success(.stale) where Planted.bug("stale-taken-as-accepted"):
                return self.end(completing, with: .led(self.token, .accepted(waiters: nil), attempt: self.attempt))
            case .success(.stale(current: nil, let reason)) where self.mayLeadAgain(completing, after: reason):
                return self.leadAgain(tooLongAt: completing.tooLongAt, with: completing.outcome)
            case .success(.unknown) where !completing.mayHaveExecuted && self.mayLeadAgain(completing):
                return self.leadAgain(tooLongAt: completing.tooLongAt, with: completing.outcome)
            case .success(.stale(_, let reason)):
                return self.end(completing, with: .leaseLost(self.token, Self.told(reason)))
            case .success(.unknown) where Planted.bug("unknown-taken-as-accepted") && !completing.mayHaveExecuted:
                return self.end(completing, with: .led(self.token, .accepted(waiters: nil), attempt: self.attempt))
            case .success(.unknown):
                guard completing.mayHaveExecuted, !Planted.bug("unknown-taken-as-refused-after-a-retry") else {
                    return self.end(completing, with: .leaseLost(self.token, nil))
                }
                let error = LeaseStoreError(
                    .unavailable,
                    "the store's answer to the result was lost, and it no longer knows the flight"
                )
                return self.end(completing, with: self.unverified(error))
            case .failure(let error):
                return self.completeFailed(error, completing, now: now, using: &generator)
            }
        case .confirming, .leading, .ended:
            return []
        }
    }

    /// Whether a result that came when the lease was gone is worth another one.
    private func mayLeadAgain(_ completing: Completing, after reason: CanceledFlight? = nil) -> Bool {
        completing.mustResolve && completing.override == nil && self.mayLeadAgain(after: reason)
    }

    private mutating func completeFailed(
        _ error: LeaseStoreError,
        _ failed: Completing,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        var completing = failed
        completing.mayHaveExecuted = completing.mayHaveExecuted || error.mayHaveExecuted
        let retryAt = now.advanced(by: completing.backoff.next(using: &generator))
        guard error.isTransient, retryAt < completing.giveUpAt else {
            if error.code == .full, completing.outcome != self.outcomes.storeFull {
                // The others get that instead. The callers here have the result.
                let local: FlightActions =
                    completing.mustResolve ? [.tell(completing.override ?? self.unverified(error))] : []
                completing.mustResolve = false
                completing.outcome = self.outcomes.storeFull
                completing.isSent = true
                self.state = .completing(completing)
                return local + [.send(.complete(self.token, completing.outcome))]
            }
            let release = FlightAction.send(.release(self.token, .giveUp))
            return [release] + self.end(completing, with: self.unverified(error))
        }
        var actions: FlightActions = []
        if completing.mustResolve, retryAt >= completing.verdictBy {
            // The local callers have waited long enough; those elsewhere may still get the result.
            completing.mustResolve = false
            actions.append(.tell(completing.override ?? self.unverified(error)))
        }
        self.state = .completing(completing)
        return actions + [.wake(at: retryAt)]
    }

    private func unverified(_ error: LeaseStoreError) -> FlightEnd {
        .led(self.token, .unverified(error), attempt: self.attempt)
    }

    private mutating func end(_ completing: Completing, with resolution: FlightEnd) -> FlightActions {
        self.state = .ended
        return completing.mustResolve ? FlightActions(.tell(completing.override ?? resolution)) : []
    }

    // MARK: - Shutting down

    /// This process shuts down: the lease is handed back at once, and the local callers are told.
    private mutating func shutDown() -> FlightActions {
        switch self.state {
        case .confirming:
            // The release that is under way keeps the lease if a process elsewhere waits. That process must not have to
            // wait for the lease's expiry.
            self.state = .ended
            return [.send(.release(self.token, .withdraw))]
        case .leading(let leading):
            self.state = .ended
            if Planted.bug("shutdown-keeps-the-lease") { return [.cancelOperation(.shutDown), .tell(.shutDown)] }
            return [.cancelOperation(.shutDown), .send(.release(self.token, .shutDown))]
                + (leading.isAbandoned ? [] : [.tell(.shutDown)])
        case .completing(let completing):
            // The result is on its way, and may still arrive; nobody here waits for the answer.
            self.state = .ended
            return (completing.mustResolve ? [.tell(completing.override ?? .shutDown)] : [])
        case .ended:
            return []
        }
    }
}
