import Singleflight

/// A process that wants a key's outcome: it asks to lead, and waits where somebody else does.
///
/// A value without I/O: events and the time come in, ``FlightAction``s go out. Only the store decides an outcome; the
/// machine's timers merely make it ask. It ends by telling, or by handing a lease to ``Leading``.
package struct Following: Sendable {
    /// A lease that was granted to this process.
    package struct Grant: Sendable, Equatable {
        package var token: LeaseToken
        /// When the request was first sent: the lease is counted from no later.
        package var sentAt: LeaseInstant
        package var attempt: Int
        /// Whether the local callers all left while the request was under way.
        package var isAbandoned: Bool
        /// What an earlier sending of the request may yet be granted when this lease has ended.
        package var debt: HandingBack.Debt?
    }

    private enum State {
        /// Nothing was sent. → entering
        case idle
        /// `enter` is under way, or about to be repeated. → waiting, confirming, granted, ended
        case entering(Entering)
        /// Another process leads. → entering (to take over), ended
        case waiting(Waiting)
        /// A lease was granted, and the store is asked how the flight that was waited for before ended. → granted,
        /// ended
        case confirming(Confirming)
        /// The store lost the flight; soon it is entered anew. → entering, ended
        case recovering(LeaseToken, at: LeaseInstant)
        /// A lease was granted: ``Leading`` has taken over. Final.
        case granted
        /// Resolved or left. Final.
        case ended
    }

    private struct Entering {
        var token: LeaseToken
        /// The flight that was waited for until its lease expired: it may yet end otherwise before the request is
        /// carried out.
        var expired: LeaseToken?
        var sentAt: LeaseInstant
        /// Whether the request is at the store; otherwise the timer will send it again.
        var isSent: Bool
        /// Whether a sending that was not answered may have been carried out, or may yet be.
        var mayHaveExecuted = false
        var lastSentAt: LeaseInstant
        var backoff: RetryDelay
        /// No repetition after this time, and no waiting for the reply to one. No sending is to be carried out later.
        var giveUpAt: LeaseInstant
        var isAbandoned = false
        /// Announcements that came before the reply which names the flight to follow.
        var early: [Announcement] = []
        /// Whether the inbox had a gap: what the reply says may have been overtaken by news that is lost.
        var mayHaveMissedNews = false
    }

    private struct Waiting {
        var token: LeaseToken
        /// The flight that this process was registered for meanwhile, if it asks about one that it waited for before.
        var later: LeaseToken?
        /// The lease's end as the store last told it.
        var leaseEnd: LeaseInstant
        /// How many takeovers the store has pointed to since it last said that the flight runs.
        var pointers = 0
        /// Whether the store said last that the lease has run out.
        var isExpired = false
        var isPolling = false
        /// Since when the store could not be asked.
        var unansweredSince: LeaseInstant?
        /// Something happened while a poll was under way: its reply may be older than that.
        var mustPollAgain = false
        /// The leader was lost, and this process cannot lead on: until then it leaves that to the processes that can.
        var leftToOthersUntil: LeaseInstant?
        var backoff: RetryDelay
    }

    private struct Confirming {
        var grant: Grant
        /// The flight that is asked about: the one that was waited for, or its latest takeover.
        var asked: LeaseToken
        /// How many takeovers the store has pointed to so far.
        var pointers = 0
    }

    /// More announcements than this before a reply are about flights long gone.
    private static let maximumEarly = 16
    /// The number of takeovers in a row that are followed at once. More of them are followed with pauses: their records
    /// could have been forged into a ring.
    private static let pointersAtOnce = 16
    /// No flight is taken over more often than that.
    private static let maximumPointers = 1_000
    /// How often in its life a process enters again because the lease that it waited for was given back.
    private static let maximumReentries = 8

    private let terms: FlightTerms
    private var state = State.idle
    /// What may be left to be handed back when the machine has ended.
    package private(set) var debts = Debts()
    /// Whether the last of them was asked to be released.
    package private(set) var isReleasing = false
    /// How often this process saw the flight change hands.
    private var takeovers = 0
    /// How often this process entered because the store had lost the flight.
    private var recoveries = 0
    /// How often this process entered because the lease that it waited for was given back.
    private var reentries = 0

    /// Whether this process has something to run if it takes over.
    private var canTakeOver: Bool
    /// Whether this process never leads, and leaves it to the others what becomes of a flight whose leader is lost.
    private let isOnlooker: Bool
    /// Whether the store has counted this process among the flight's waiters, and so keeps the outcome for it.
    private var isRegistered = false
    /// Whether this process led before: its work was canceled, and no other begins in the same flight.
    private let hasLed: Bool
    /// Whether nobody waits for the flight: it is over where another process leads.
    private let isRefresh: Bool

    package init(terms: FlightTerms, canTakeOver: Bool = true, isRefresh: Bool = false) {
        self.terms = terms
        self.canTakeOver = canTakeOver
        self.isOnlooker = false
        self.hasLed = false
        self.isRefresh = isRefresh
    }

    /// An onlooker of the flight that ``Looking`` has found.
    init(terms: FlightTerms, onlooker token: LeaseToken, remaining: Duration, now: LeaseInstant) {
        self.terms = terms
        self.canTakeOver = false
        self.isOnlooker = true
        self.hasLed = false
        self.isRefresh = false
        let leaseEnd = now.advanced(by: max(remaining, .zero))
        self.state = .waiting(Waiting(token: token, leaseEnd: leaseEnd, backoff: terms.followerBackoff))
    }

    /// An onlooker asks how the flight stands, and is registered on it by that.
    mutating func ask(now: LeaseInstant) -> FlightActions {
        guard case .waiting(let waiting) = self.state else { return [] }
        return self.poll(waiting, now: now)
    }

    /// For a leader whose lease is gone while somebody else leads; ``join(_:remaining:now:)`` comes next.
    ///
    /// - Parameter debts: what its requests for other leases may yet be granted.
    package init(afterLeading terms: FlightTerms, owing debts: Debts) {
        self.terms = terms
        self.canTakeOver = false
        self.isOnlooker = false
        self.hasLed = true
        self.isRefresh = false
        self.debts = debts
    }

    /// Whether it is still open which process leads, and this one may.
    package var mayYetLead: Bool { !self.isFinal && !self.hasLed }

    /// The flight that is waited for.
    package var followedToken: LeaseToken? {
        if case .waiting(let waiting) = self.state { waiting.token } else { nil }
    }

    package var isFinal: Bool {
        switch self.state {
        case .granted, .ended: true
        case .idle, .entering, .waiting, .confirming, .recovering: false
        }
    }

    // MARK: - What happens

    /// What to do after an event; a grant is for ``Leading``.
    package enum Step: Sendable {
        case actions(FlightActions)
        case lead(Grant)
    }

    package mutating func handle(
        _ event: FlightEvent,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> Step {
        switch event {
        case .start:
            return .actions(self.start(now: now, using: &generator))
        case .replied(let reply, let request):
            return self.replied(reply, to: request, now: now, using: &generator)
        case .heard(.announced(let announcement)):
            return .actions(self.announced(announcement, now: now, using: &generator))
        case .heard(.interrupted), .heard(.resumed):
            return .actions(self.inboxChanged(now: now, using: &generator))
        case .heard(.shuttingDown):
            return .actions(self.shutDown())
        case .timer:
            return .actions(self.timerFired(now: now, using: &generator))
        case .offered:
            self.canTakeOver = !self.hasLed && !self.isOnlooker
            return .actions([])
        case .abandoned:
            return .actions(self.abandoned())
        case .operationEnded, .progressed, .leaderLeft:
            return .actions([])
        }
    }

    private mutating func replied(
        _ reply: Result<LeaseReply, LeaseStoreError>,
        to request: FlightRequest,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> Step {
        switch request {
        case .enter(let token, _, _):
            return self.entered(reply.as(EnterRequest.self), under: token, now: now, using: &generator)
        case .poll:
            return self.polled(reply.as(PollRequest.self), now: now, using: &generator)
        case .look, .leave, .renew, .complete, .release, .revoke:
            return .actions([])
        }
    }

    // MARK: - Entering

    private mutating func start(
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch self.state {
        case .idle:
            return self.enter(now: now, using: &generator)
        case .entering, .waiting, .confirming, .recovering, .granted, .ended:
            return []
        }
    }

    private mutating func enter(
        after expired: LeaseToken? = nil,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        let token = LeaseToken(using: &generator)
        let giveUpAt = now.advanced(by: self.terms.commandTimeout)
        self.state = .entering(
            Entering(
                token: token,
                expired: expired,
                sentAt: now,
                isSent: true,
                lastSentAt: now,
                backoff: self.terms.followerBackoff,
                giveUpAt: giveUpAt
            )
        )
        return FlightActions(.send(.enter(token, isRepetition: false, until: giveUpAt)))
    }

    /// - Parameter token: the token that the answered request was sent with.
    private mutating func entered(
        _ reply: Result<EnterReply, LeaseStoreError>,
        under token: LeaseToken,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> Step {
        switch self.state {
        case .entering(var entering):
            guard entering.token == token, entering.isSent else { return .actions([]) }
            entering.isSent = false
            if entering.mayHaveExecuted, !Planted.bug("repeated-request-forgotten") {
                self.debts.add(self.debt(of: entering), now: now)
            }
            switch reply {
            case .success(.lead(let attempt)):
                guard now < self.terms.deadline(sentAt: entering.sentAt) else {
                    // The reply took too long: the lease may be over by now, and leading under it is not worth it.
                    entering.mayHaveExecuted = true
                    return .actions(
                        self.giveUpEntering(
                            entering,
                            because: .init(.timedOut, "the lease was granted too late to be used")
                        )
                    )
                }
                let grant = Grant(
                    token: entering.token,
                    sentAt: Planted.bug("lease-counted-from-the-reply") ? now : entering.sentAt,
                    attempt: attempt,
                    isAbandoned: entering.isAbandoned,
                    debt: entering.mayHaveExecuted ? self.debt(of: entering) : nil
                )
                if let expired = entering.expired {
                    // The flight that was waited for may have ended in the meantime, perhaps with a result. Also if
                    // this is a takeover: the process taken over from may itself have come too late, and given up.
                    return .actions(self.confirm(Confirming(grant: grant, asked: expired)))
                }
                self.state = .granted
                return .lead(grant)
            case .success(.follow(let token, let remaining)):
                if entering.isAbandoned {
                    self.state = .ended
                    return .actions([.send(.leave(token))])
                }
                if self.isRefresh, !Planted.bug("refresh-waits-for-another-leader") {
                    return .actions([.send(.leave(token))] + self.end(with: .ledElsewhere))
                }
                return .actions(self.follow(token, remaining: remaining, entering, now: now, using: &generator))
            case .success(.reuse(let token, let outcome, _)):
                return .actions(
                    self.end(
                        with: .followed(token, outcome, isReused: true, takeovers: self.takeovers),
                        unless: entering.isAbandoned
                    )
                )
            case .success(.late):
                return .actions(
                    self.giveUpEntering(entering, because: .init(.timedOut, "the request reached the store too late"))
                )
            case .failure(let error):
                entering.mayHaveExecuted = entering.mayHaveExecuted || error.mayHaveExecuted
                let retryAt = now.advanced(by: entering.backoff.next(using: &generator))
                guard error.isTransient, error.code != .down, !entering.isAbandoned, retryAt < entering.giveUpAt
                else {
                    return .actions(self.giveUpEntering(entering, because: error))
                }
                self.state = .entering(entering)
                return .actions([.wake(at: retryAt)])
            }
        case .ended:
            // The callers were told in the meantime: what the store granted is handed back.
            return .actions(HandingBack.answeredLate(reply, to: token))
        case .idle, .waiting, .confirming, .recovering, .granted:
            return .actions([])
        }
    }

    private mutating func giveUpEntering(_ entering: Entering, because error: LeaseStoreError) -> FlightActions {
        self.handBack(entering)
            + self.end(with: .unavailable(error), unless: entering.isAbandoned)
    }

    /// An `enter` may have been carried out without our knowing, or may yet be: it is taken back, whatever it made of
    /// this process. Nothing is to be done if no sending can have reached the store.
    private mutating func handBack(_ entering: Entering) -> FlightActions {
        guard entering.isSent || entering.mayHaveExecuted else { return [] }
        let debt = self.debt(of: entering)
        self.debts.add(debt)
        self.isReleasing = true
        return [debt.handBack]
    }

    private func debt(of entering: Entering) -> HandingBack.Debt {
        HandingBack.Debt(
            token: entering.token,
            validUntil: entering.giveUpAt,
            endsAt: entering.lastSentAt.advanced(by: self.terms.lease.duration),
            isRepeated: entering.lastSentAt != entering.sentAt
        )
    }

    /// The lease was granted, and is not to be used.
    private mutating func handBack(_ grant: Grant) -> FlightAction {
        let debt =
            grant.debt
            ?? HandingBack.Debt(
                token: grant.token,
                validUntil: grant.sentAt,
                endsAt: grant.sentAt.advanced(by: self.terms.lease.duration),
                isRepeated: false
            )
        self.debts.add(debt)
        self.isReleasing = true
        return debt.handBack
    }

    /// The flight that this process is told to wait for leads under a request of its own, which was carried out after
    /// the process had followed another leader: nothing runs under that lease. It is taken back, for all who wait for
    /// it; the store then says so.
    private func handBack(ownLease token: LeaseToken) -> FlightAction? {
        guard let debt = self.debts[token], !Planted.bug("own-lease-waited-for") else { return nil }
        return debt.handBack
    }

    // MARK: - Confirming

    private mutating func confirm(_ confirming: Confirming) -> FlightActions {
        self.state = .confirming(confirming)
        return [.send(.poll(confirming.asked))]
    }

    private mutating func confirmed(
        by reply: Result<PollReply, LeaseStoreError>,
        _ confirming: Confirming,
        now: LeaseInstant
    ) -> Step {
        let grant = confirming.grant
        guard now < self.terms.deadline(sentAt: grant.sentAt) else {
            let error = LeaseStoreError(.timedOut, "the earlier flight's end was learned too late to lead")
            return .actions(
                [self.handBack(grant)]
                    + self.end(with: .unavailable(error), unless: grant.isAbandoned)
            )
        }
        switch reply {
        case .success(.done(let outcome)):
            return .actions(self.settle(outcome, of: confirming.asked, insteadOf: grant))
        case .success(.superseded(let token)) where token != grant.token:
            guard confirming.pointers < Self.pointersAtOnce else {
                let error = LeaseStoreError(.protocolViolation, "the earlier flight was taken over without end")
                return .actions(
                    [self.handBack(grant)]
                        + self.end(with: .unavailable(error), unless: grant.isAbandoned)
                )
            }
            self.takeovers += 1
            return .actions(
                self.confirm(Confirming(grant: grant, asked: token, pointers: confirming.pointers + 1))
            )
        case .success(.superseded), .success(.gone), .success(.withdrawn), .success(.expired), .success(.running),
            .failure:
            // No result to be had: that is what the lease was asked for.
            self.state = .granted
            return .lead(grant)
        }
    }

    /// The flight that was waited for has ended after all: no second run.
    private mutating func settle(
        _ outcome: StoredOutcome,
        of token: LeaseToken,
        insteadOf grant: Grant
    ) -> FlightActions {
        [self.handBack(grant)]
            + self.end(
                with: .followed(token, outcome, isReused: false, takeovers: self.takeovers),
                unless: grant.isAbandoned
            )
    }

    // MARK: - Waiting

    /// Waits for the flight that leads now, and asks at once: what was announced before this process knew is lost.
    package mutating func join(_ leader: LeaseToken, remaining: Duration, now: LeaseInstant) -> FlightActions {
        let leaseEnd = now.advanced(by: max(remaining, .zero))
        return self.poll(Waiting(token: leader, leaseEnd: leaseEnd, backoff: self.terms.followerBackoff), now: now)
    }

    private mutating func follow(
        _ token: LeaseToken,
        remaining: Duration,
        _ entering: Entering,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        let leaseEnd = now.advanced(by: max(remaining, .zero))
        let backoff = self.terms.followerBackoff
        if let expired = entering.expired {
            // Another process leads now. Either it took over from the flight that was waited for, or that flight has
            // ended, perhaps with a result: the store is asked about that flight first.
            return self.poll(Waiting(token: expired, later: token, leaseEnd: leaseEnd, backoff: backoff), now: now)
        }
        let waiting = Waiting(token: token, leaseEnd: leaseEnd, backoff: backoff)
        if let handBack = self.handBack(ownLease: token) { return [handBack] + self.poll(waiting, now: now) }
        self.state = .waiting(waiting)
        for announcement in entering.early where announcement.token == token {
            let actions = self.announced(announcement, now: now, using: &generator)
            if !actions.isEmpty {
                return actions
            }
        }
        if entering.mayHaveMissedNews {
            return self.poll(waiting, now: now)
        }
        if Planted.bug("follower-relies-on-announcements") { return [] }
        return [.wake(at: self.pollTime(leaseEnd: leaseEnd, using: &generator))]
    }

    private mutating func announced(
        _ announcement: Announcement,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch self.state {
        case .entering(var entering):
            if case .outcome(let outcome) = announcement.news, announcement.token == entering.expired {
                return self.handBack(entering)
                    + self.end(
                        with: .followed(announcement.token, outcome, isReused: false, takeovers: self.takeovers),
                        unless: entering.isAbandoned
                    )
            }
            if entering.early.count == Self.maximumEarly {
                entering.early.removeFirst()
            }
            entering.early.append(announcement)
            self.state = .entering(entering)
            return []
        case .waiting(let waiting):
            let isAbout = announcement.token == waiting.token || Planted.bug("news-of-another-flight-taken-as-fact")
            if case .outcome(let outcome) = announcement.news, isAbout {
                return self.settle(outcome, of: waiting)
            }
            switch announcement.news {
            case .unawaited, .progress, .chunk:
                // Meant for a leader, and stale: this process does wait. The others are no news of the flight itself.
                return []
            case .outcome, .hint:
                return self.poll(waiting, now: now)
            }
        case .idle, .confirming, .recovering, .granted, .ended:
            return []
        }
    }

    /// The inbox is connected again: whatever was announced meanwhile is lost. Or it is not: whether the store can be
    /// asked must be known before the lease's end, for nobody waits longer than a command timeout for one that cannot.
    private mutating func inboxChanged(
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch self.state {
        case .waiting(let waiting):
            if waiting.isPolling {
                return self.poll(waiting, now: now)
            }
            if Planted.bug("reconnected-inbox-ignored") { return [] }
            return [.wake(at: now.afterReconnect(using: &generator))]
        case .entering(var entering):
            entering.mayHaveMissedNews = true
            self.state = .entering(entering)
            return []
        case .idle, .confirming, .recovering, .granted, .ended:
            return []
        }
    }

    /// - Parameter mayEnd: whether the flight is to end if its leader is lost, even if another process could take over.
    private mutating func poll(_ waiting: Waiting, mayEnd: Bool = false, now: LeaseInstant) -> FlightActions {
        var waiting = waiting
        if waiting.isPolling {
            waiting.mustPollAgain = true
            self.state = .waiting(waiting)
            return []
        }
        waiting.isPolling = true
        waiting.unansweredSince = waiting.unansweredSince ?? now
        self.state = .waiting(waiting)
        return [.send(.poll(waiting.token, mayEnd: mayEnd))]
    }

    private mutating func polled(
        _ reply: Result<PollReply, LeaseStoreError>,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> Step {
        switch self.state {
        case .waiting(let waiting):
            guard waiting.isPolling else { return .actions([]) }
            return .actions(self.learned(reply, waiting, now: now, using: &generator))
        case .confirming(let confirming):
            return self.confirmed(by: reply, confirming, now: now)
        case .idle, .entering, .recovering, .granted, .ended:
            return .actions([])
        }
    }

    private mutating func learned(
        _ reply: Result<PollReply, LeaseStoreError>,
        _ polling: Waiting,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        var waiting = polling
        waiting.isPolling = false
        let mustPollAgain = waiting.mustPollAgain
        waiting.mustPollAgain = false
        let unansweredSince = waiting.unansweredSince ?? now
        if case .success = reply { waiting.unansweredSince = nil }
        switch reply {
        case .success(.done(let outcome)):
            return self.settle(outcome, of: waiting)
        case .success(.running(let remaining)):
            self.isRegistered = true
            waiting.later = nil
            waiting.leaseEnd = now.advanced(by: max(remaining, .zero))
            waiting.isExpired = false
            waiting.leftToOthersUntil = nil
            waiting.pointers = 0
            waiting.backoff = self.terms.followerBackoff
            if mustPollAgain, !Planted.bug("hint-during-a-poll-ignored") {
                return self.poll(waiting, now: now)
            }
            self.state = .waiting(waiting)
            return [.wake(at: self.pollTime(leaseEnd: waiting.leaseEnd, using: &generator))]
        case .success(.expired) where self.isOnlooker:
            // The others lead on or end it; if nobody does, the store forgets the flight.
            waiting.isExpired = true
            let askAt = now.advanced(by: waiting.backoff.next(using: &generator))
            self.state = .waiting(waiting)
            return [.wake(at: askAt)]
        case .success(.expired) where !self.canTakeOver:
            // Somebody elsewhere may have what it takes to lead on. If nobody does in time, the flight ends.
            let until = waiting.leftToOthersUntil ?? now.advanced(by: self.timeToTakeOver)
            waiting.leftToOthersUntil = until
            self.state = .waiting(waiting)
            return [.wake(at: until)]
        case .success(.expired):
            return self.enter(after: waiting.token, now: now, using: &generator)
        case .success(.superseded(let token)):
            self.takeovers += 1
            waiting.token = token
            waiting.isExpired = false
            if token == waiting.later { waiting.later = nil }
            waiting.leftToOthersUntil = nil
            waiting.pointers += 1
            if let handBack = self.handBack(ownLease: token) { return [handBack] + self.poll(waiting, now: now) }
            guard waiting.pointers > Self.pointersAtOnce else { return self.poll(waiting, now: now) }
            guard waiting.pointers <= Self.maximumPointers else { return self.end(with: .gone(token)) }
            let pause = waiting.backoff.next(using: &generator)
            self.state = .waiting(waiting)
            return [.wake(at: now.advanced(by: pause))]
        case .success(.gone), .success(.withdrawn):
            if let later = waiting.later {
                // No result to be had of the earlier flight: that is what this process came back for.
                waiting.token = later
                waiting.later = nil
                return self.poll(waiting, now: now)
            }
            if case .success(.withdrawn) = reply {
                return self.reenter(from: waiting, now: now, using: &generator)
            }
            if self.isOnlooker {
                if waiting.isExpired { return self.end(with: .lapsed(waiting.token)) }
                // It ended just before this process was to be registered, and nobody waited.
                if !self.isRegistered { return self.end(with: .absent) }
            }
            return self.recover(from: waiting, now: now, using: &generator)
        case .failure(let error):
            // Unreachable is not canceled: the flight may well run. But for longer than a command timeout nobody waits
            // for a store that cannot be asked, neither at first nor here.
            let giveUpAt = unansweredSince.advanced(by: self.terms.commandTimeout)
            let retryAt = now.advanced(by: waiting.backoff.next(using: &generator))
            guard error.code != .shutDown, error.code != .tooLarge, retryAt < giveUpAt else {
                return self.end(with: .unavailable(error))
            }
            self.state = .waiting(waiting)
            return [.wake(at: retryAt)]
        }
    }

    /// The store lost the flight: a new one is worth a try, and in most groups so is giving its leader the time to be
    /// first.
    private mutating func recover(
        from waiting: Waiting,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        guard self.canTakeOver, self.recoveries < self.terms.recoveries else {
            return self.end(with: .gone(waiting.token))
        }
        self.recoveries += 1
        guard self.terms.leadsAgain else { return self.enter(now: now, using: &generator) }
        let delay = self.terms.pollSpread + .jitter(upTo: self.terms.pollSpread, using: &generator)
        let time = now.advanced(by: delay)
        self.state = .recovering(waiting.token, at: time)
        return [.wake(at: time)]
    }

    /// The lease was given back before anything ran: the flight begins anew.
    private mutating func reenter(
        from waiting: Waiting,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        guard self.reentries < Self.maximumReentries else { return self.end(with: .gone(waiting.token)) }
        guard self.canTakeOver else { return self.settle(.canceled(.leaderLeft), of: waiting) }
        self.reentries += 1
        return self.enter(now: now, using: &generator)
    }

    private mutating func settle(_ outcome: StoredOutcome, of waiting: Waiting) -> FlightActions {
        // Of a later flight nothing is wanted any more.
        let leaving: FlightActions = waiting.later.map { [.send(.leave($0))] } ?? []
        let end = FlightEnd.followed(waiting.token, outcome, isReused: false, takeovers: self.takeovers)
        return leaving + (Planted.bug("followers-told-twice") ? [.tell(end)] : []) + self.end(with: end)
    }

    // MARK: - Time, leaving, shutting down

    /// Takes this process off the waiters. While it asks about an earlier flight it is registered for the later one,
    /// and perhaps for the one that it asks about.
    private func leave(_ waiting: Waiting) -> FlightActions {
        let isLaterMeant = !Planted.bug("later-flight-not-left")
        let later: FlightActions = isLaterMeant ? waiting.later.map { [.send(.leave($0))] } ?? [] : []
        return [.send(.leave(waiting.token))] + later
    }

    private mutating func timerFired(
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch self.state {
        case .entering(var entering):
            // The first sending is answered by then anyway; its repetitions must not make the callers wait for longer.
            guard now < entering.giveUpAt else {
                return self.giveUpEntering(entering, because: .init(.timedOut, "no answer within the command timeout"))
            }
            guard !entering.isSent else { return [] }
            entering.isSent = true
            entering.lastSentAt = now
            if Planted.bug("retry-under-a-new-token") { entering.token = LeaseToken(using: &generator) }
            self.state = .entering(entering)
            return [
                .send(.enter(entering.token, isRepetition: true, until: entering.giveUpAt)),
                .wake(at: entering.giveUpAt),
            ]
        case .waiting(let waiting):
            guard !waiting.isPolling else { return [] }
            if Planted.bug("followers-cancel-by-their-own-timer") {
                return self.settle(.canceled(.leaseExpired), of: waiting)
            }
            let isTimeUp = waiting.leftToOthersUntil.map { now >= $0 } ?? false
            return self.poll(waiting, mayEnd: isTimeUp && !self.canTakeOver, now: now)
        case .recovering(_, let time):
            return now >= time ? self.enter(now: now, using: &generator) : [.wake(at: time)]
        case .idle, .confirming, .granted, .ended:
            return []
        }
    }

    /// The last local caller left.
    private mutating func abandoned() -> FlightActions {
        switch self.state {
        case .idle, .recovering:
            self.state = .ended
            return []
        case .entering(var entering):
            if entering.isSent {
                entering.isAbandoned = true
                self.state = .entering(entering)
                return []
            }
            self.state = .ended
            return self.handBack(entering)
        case .waiting(let waiting):
            self.state = .ended
            return self.leave(waiting)
        case .confirming(var confirming):
            confirming.grant.isAbandoned = true
            self.state = .confirming(confirming)
            return []
        case .granted, .ended:
            return []
        }
    }

    /// This process shuts down: its callers are told now.
    private mutating func shutDown() -> FlightActions {
        // What is handed back now is handed back once: nothing can be sent later.
        defer { self.debts = Debts() }
        switch self.state {
        case .idle, .recovering:
            return self.end(with: .shutDown)
        case .entering(let entering):
            // Should the lease be granted after all, no other process must have to wait for its expiry.
            return self.handBack(entering) + self.end(with: .shutDown, unless: entering.isAbandoned)
        case .waiting(let waiting):
            return self.leave(waiting) + self.end(with: .shutDown)
        case .confirming(let confirming):
            return [self.handBack(confirming.grant)]
                + self.end(with: .shutDown, unless: confirming.grant.isAbandoned)
        case .granted, .ended:
            return []
        }
    }

    private mutating func end(with end: FlightEnd, unless isAbandoned: Bool = false) -> FlightActions {
        self.state = .ended
        return isAbandoned ? [] : [.tell(end)]
    }

    // MARK: - Delays

    /// By then every process that can take over has asked, and entered; the store still knows of the lease.
    private var timeToTakeOver: Duration {
        min(self.terms.pollSpread + self.terms.commandTimeout, self.terms.lease.grace / 2)
    }

    /// A lease that was not renewed is asked about just after its end, but not by all followers at the same instant.
    private func pollTime(leaseEnd: LeaseInstant, using generator: inout some RandomNumberGenerator) -> LeaseInstant {
        // One millisecond more than the store said: it counts in whole milliseconds, and too early a question is one
        // too many.
        return leaseEnd.advanced(by: .milliseconds(1) + .jitter(upTo: self.terms.pollSpread, using: &generator))
    }
}
