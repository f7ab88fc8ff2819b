import Singleflight

/// One flight in one process, from asking to lead until nothing of it is left: a follower that may become a leader, and
/// what the process may hold at the store without knowing it.
///
/// A value without I/O: events, the time and random numbers come in, ``FlightAction``s go out. Of its phases each is a
/// value in a file of its own.
package struct FlightMachine: Sendable {
    private enum Phase {
        /// This process never leads.
        case looking(Looking)
        case following(Following)
        /// - Parameter debts: what an earlier sending of this request, or an earlier request, may yet be granted when
        ///   this lease has ended.
        case leading(Leading, debts: Debts)
        /// The lease is gone, and another one is asked for.
        ///
        /// - Parameter debts: as of ``leading(_:debts:)``.
        case regaining(Regaining, debts: Debts)
        /// Everybody here has been told.
        case handingBack(HandingBackAll)
        /// There is no lease.
        case alone(Alone)
    }

    /// What is stored where the operation's own result cannot be.
    package struct Outcomes: Sendable {
        /// The operation ran longer than a flight may.
        package var tooLong: StoredOutcome
        /// The store has no room for the result.
        package var storeFull: StoredOutcome

        package init(tooLong: StoredOutcome, storeFull: StoredOutcome) {
            self.tooLong = tooLong
            self.storeFull = storeFull
        }

        /// For a flight that stores no outcome.
        fileprivate static let unused = Outcomes(tooLong: .failure([]), storeFull: .failure([]))
    }

    private let terms: FlightTerms
    private let outcomes: Outcomes
    private var phase: Phase
    package private(set) var isFinal = false

    /// - Parameter isRefresh: whether nobody waits for the flight: it ends where another process leads.
    package init(terms: FlightTerms, outcomes: Outcomes, canTakeOver: Bool = true, isRefresh: Bool = false) {
        self.terms = terms
        self.outcomes = outcomes
        self.phase = .following(Following(terms: terms, canTakeOver: canTakeOver, isRefresh: isRefresh))
    }

    /// A flight that this process follows if there is one, and never leads.
    package init(following terms: FlightTerms) {
        self.terms = terms
        self.outcomes = .unused
        self.phase = .looking(Looking(terms: terms))
    }

    /// A flight that asks no store.
    ///
    /// - Parameter longest: how long its operation may run; `nil` for any time.
    package init(alone terms: FlightTerms, longest: Duration?) {
        self.terms = terms
        self.outcomes = .unused
        self.phase = .alone(Alone(longest: longest))
    }

    // MARK: - What is known

    /// Whether this process leads, and still believes in its lease at `now`; without a lease, whether the work goes on.
    package func isCurrent(now: LeaseInstant) -> Bool {
        switch self.phase {
        case .looking, .following, .regaining, .handingBack: false
        case .leading(let leading, _): leading.isCurrent(now: now)
        case .alone(let alone): alone.isWorking
        }
    }

    /// Whether a result of the work in this process is still wanted.
    package var isWorking: Bool {
        switch self.phase {
        case .looking, .following, .handingBack: false
        case .leading(let leading, _): leading.isWorking
        case .regaining(let regaining, _): regaining.isWorking
        case .alone(let alone): alone.isWorking
        }
    }

    /// The flight in another process that this one waits for.
    package var followedToken: LeaseToken? {
        if case .following(let following) = self.phase { following.followedToken } else { nil }
    }

    /// Whether it is still open which process leads, or another one does.
    package var mayYetLead: Bool {
        if case .following(let following) = self.phase { following.mayYetLead } else { false }
    }

    /// Until when this process believes in its lease; `nil` if it has none.
    package var leaseDeadline: LeaseInstant? {
        if case .leading(let leading, _) = self.phase { leading.deadline } else { nil }
    }

    // MARK: - What happens

    package mutating func handle(
        _ event: FlightEvent,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> FlightActions {
        switch self.phase {
        case .looking(var looking):
            switch looking.handle(event, now: now, using: &generator) {
            case .actions(let actions):
                self.phase = .looking(looking)
                return looking.isFinal ? actions + self.end(owing: Debts(), isReleasing: false) : actions
            case .follow(let token, let remaining):
                var following = Following(terms: self.terms, onlooker: token, remaining: remaining, now: now)
                let actions = following.ask(now: now)
                self.phase = .following(following)
                return actions
            }
        case .following(var following):
            let step = following.handle(event, now: now, using: &generator)
            switch step {
            case .actions(let actions):
                self.phase = .following(following)
                guard following.isFinal else { return actions }
                return actions + self.end(owing: following.debts, isReleasing: following.isReleasing)
            case .lead(let grant):
                var leading = Leading(grant: grant, terms: self.terms, outcomes: self.outcomes, now: now)
                let actions = leading.start()
                let debts = Planted.bug("repeated-leader-forgotten") ? Debts() : following.debts
                self.phase = .leading(leading, debts: debts)
                return actions
            }
        case .leading(var leading, var debts):
            // What is handed back on a shutdown is handed back once: nothing can be sent later.
            if case .heard(.shuttingDown) = event { debts = Debts() }
            if leading.isWorking, !Planted.bug("run-taken-back") { debts = debts.after(running: leading.token) }
            let actions = leading.handle(event, now: now, using: &generator)
            if let loss = leading.loss {
                let regaining = Regaining(after: loss, terms: self.terms, now: now, using: &generator)
                self.phase = .regaining(regaining, debts: debts)
                return actions + regaining.start()
            }
            self.phase = .leading(leading, debts: debts)
            guard leading.isFinal else { return actions }
            return actions + self.end(owing: debts.adding(leading.debt, now: now), isReleasing: false)
        case .regaining(var regaining, var debts):
            // As above.
            if case .heard(.shuttingDown) = event { debts = Debts() }
            let step = regaining.handle(event, now: now, using: &generator)
            switch step {
            case .actions(let actions):
                self.phase = .regaining(regaining, debts: debts)
                guard regaining.isFinal else { return actions }
                debts.add(regaining.earlier, now: now)
                debts.add(regaining.debt, now: now)
                return actions + self.end(owing: debts, isReleasing: regaining.isReleasing)
            case .lead(let grant):
                var leading = Leading(again: grant, after: regaining.loss, terms: self.terms, outcomes: self.outcomes)
                let actions = leading.goOn(with: regaining.loss.outcome, now: now)
                debts.add(regaining.earlier, now: now)
                debts.add(grant.debt, now: now)
                self.phase = .leading(leading, debts: debts.after(running: grant.token))
                if Planted.bug("operation-stays-under-the-lost-lease") { return actions }
                return [.moveOperation(to: grant.token)] + actions
            case .follow(let leader, let remaining, let wasWorking):
                debts.add(regaining.earlier, now: now)
                var following = Following(afterLeading: self.terms, owing: debts.adding(regaining.debt, now: now))
                let actions = following.join(leader, remaining: remaining, now: now)
                self.phase = .following(following)
                return (wasWorking ? [.cancelOperation(.leaseLost)] : []) + actions
            }
        case .handingBack(var handingBack):
            let actions = handingBack.handle(event, now: now, using: &generator)
            self.phase = .handingBack(handingBack)
            return handingBack.isFinal ? actions + self.end(owing: Debts(), isReleasing: false) : actions
        case .alone(var alone):
            let actions = alone.handle(event, now: now)
            self.phase = .alone(alone)
            return alone.isFinal ? actions + self.end(owing: Debts(), isReleasing: false) : actions
        }
    }

    /// A phase is over: the flight is, too, unless something may still be held; then it goes on until that is handed
    /// back.
    private mutating func end(owing debts: Debts, isReleasing: Bool) -> FlightActions {
        guard !self.isFinal || Planted.bug("flight-ends-twice") else { return [] }
        guard !debts.all.isEmpty, !Planted.bug("nothing-is-handed-back") else {
            self.isFinal = true
            return FlightActions(.finish)
        }
        var handingBack = HandingBackAll(debts, isReleasing: isReleasing, commandTimeout: self.terms.commandTimeout)
        let actions = handingBack.start()
        self.phase = .handingBack(handingBack)
        return actions
    }
}
