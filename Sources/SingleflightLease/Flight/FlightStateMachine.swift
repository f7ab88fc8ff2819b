/// One flight in one process, from asking to lead until nothing of it is left: a follower that may become a leader, and
/// what it may hold at the store without knowing it.
package struct FlightStateMachine: Sendable {
    private enum Phase {
        case following(FollowerStateMachine)
        /// - Parameter debt: what an earlier sending of the request may yet be granted when this lease has ended.
        case leading(LeaderStateMachine, debt: HandBackStateMachine.Debt?)
        /// Everybody here has been told.
        case handingBack(HandBackStateMachine)
    }

    private let terms: FlightTerms
    private let tooLong: StoredOutcome
    private var phase: Phase

    package init(terms: FlightTerms, tooLong: StoredOutcome, canTakeOver: Bool = true) {
        self.terms = terms
        self.tooLong = tooLong
        self.phase = .following(FollowerStateMachine(terms: terms, canTakeOver: canTakeOver))
    }

    package var isFinal: Bool {
        switch self.phase {
        case .following(let follower): follower.isFinal
        case .leading(let leader, _): leader.isFinal
        case .handingBack(let handBack): handBack.isFinal
        }
    }

    /// Whether this process leads, and still believes in its lease at `now`.
    package func isCurrent(now: LeaseInstant) -> Bool {
        switch self.phase {
        case .following, .handingBack: false
        case .leading(let leader, _): leader.isCurrent(now: now)
        }
    }

    /// The flight in another process that this one waits for.
    package var followedToken: LeaseToken? {
        switch self.phase {
        case .following(let follower): follower.followedToken
        case .leading, .handingBack: nil
        }
    }

    /// There is an operation now that can run if the leader is lost.
    package mutating func allowTakeover() {
        guard case .following(var follower) = self.phase else { return }
        follower.canTakeOver = true
        self.phase = .following(follower)
    }

    /// Until when this process believes in its lease; `nil` if it has none.
    package var leaseDeadline: LeaseInstant? {
        switch self.phase {
        case .following, .handingBack: nil
        case .leading(let leader, _): leader.deadline
        }
    }

    package mutating func start(
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [FlightAction] {
        self.follower {
            $0.start(now: now, using: &generator)
        } leader: { _ in
            []
        }
    }

    package mutating func enterReplied(
        _ reply: Result<EnterReply, LeaseStoreError>,
        to token: LeaseToken,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [FlightAction] {
        if case .handingBack(var handBack) = self.phase {
            let actions = handBack.enterReplied(reply)
            self.phase = .handingBack(handBack)
            return actions
        }
        return self.followerStep(now: now) { $0.enterReplied(reply, to: token, now: now, using: &generator) }
    }

    package mutating func pollReplied(
        _ reply: Result<PollReply, LeaseStoreError>,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [FlightAction] {
        self.followerStep(now: now) { $0.pollReplied(reply, now: now, using: &generator) }
    }

    package mutating func renewReplied(
        _ reply: Result<RenewReply, LeaseStoreError>,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [FlightAction] {
        self.follower { _ in
            []
        } leader: {
            $0.renewReplied(reply, now: now, using: &generator)
        }
    }

    package mutating func completeReplied(
        _ reply: Result<CompleteReply, LeaseStoreError>,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [FlightAction] {
        self.follower { _ in
            []
        } leader: {
            $0.completeReplied(reply, now: now, using: &generator)
        }
    }

    package mutating func releaseReplied(
        _ reply: Result<ReleaseReply, LeaseStoreError>,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [FlightAction] {
        self.follower { _ in
            []
        } leader: {
            $0.releaseReplied(reply)
        } handBack: {
            $0.releaseReplied(reply, now: now, using: &generator)
        }
    }

    package mutating func operationFinished(_ outcome: StoredOutcome, now: LeaseInstant) -> [FlightAction] {
        self.follower { _ in
            []
        } leader: {
            $0.operationFinished(outcome, now: now)
        }
    }

    package mutating func progressed() -> [FlightAction] {
        self.follower { _ in
            []
        } leader: {
            $0.progressed()
        }
    }

    package mutating func leaderLeaves(reason: String?) -> [FlightAction] {
        self.follower { _ in
            []
        } leader: {
            $0.leaderLeaves(reason: reason)
        }
    }

    package mutating func inbox(
        _ event: InboxEvent,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [FlightAction] {
        switch event {
        case .announced(let announcement):
            return self.follower {
                $0.announced(announcement, now: now, using: &generator)
            } leader: {
                $0.announced(announcement, now: now)
            }
        case .resumed:
            return self.follower {
                $0.inboxResumed(now: now, using: &generator)
            } leader: {
                $0.inboxResumed(now: now, using: &generator)
            } handBack: {
                $0.inboxResumed(now: now, using: &generator)
            }
        case .shuttingDown:
            if case .leading(let leader, _) = self.phase {
                self.phase = .leading(leader, debt: nil)
            }
            return self.follower {
                $0.shutDown()
            } leader: {
                $0.shutDown()
            } handBack: {
                $0.shutDown()
            }
        }
    }

    package mutating func timerFired(
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [FlightAction] {
        self.follower {
            $0.timerFired(now: now, using: &generator)
        } leader: {
            $0.timerFired(now: now)
        } handBack: {
            $0.timerFired(now: now)
        }
    }

    package mutating func abandoned() -> [FlightAction] {
        self.follower {
            $0.abandoned()
        } leader: {
            $0.abandoned()
        }
    }

    /// A reply that may make the follower a leader.
    private mutating func followerStep(
        now: LeaseInstant,
        _ step: (inout FollowerStateMachine) -> FollowerStateMachine.Step
    ) -> [FlightAction] {
        switch self.phase {
        case .following(var follower):
            switch step(&follower) {
            case .actions(let actions):
                self.phase = .following(follower)
                return self.ended(actions)
            case .lead(let grant):
                var leader = LeaderStateMachine(grant: grant, terms: self.terms, tooLong: self.tooLong, now: now)
                let actions = leader.start()
                self.phase = .leading(leader, debt: grant.debt)
                return actions
            }
        case .leading, .handingBack:
            return []
        }
    }

    private mutating func follower(
        _ follow: (inout FollowerStateMachine) -> [FlightAction],
        leader lead: (inout LeaderStateMachine) -> [FlightAction],
        handBack: (inout HandBackStateMachine) -> [FlightAction] = { _ in [] }
    ) -> [FlightAction] {
        switch self.phase {
        case .following(var follower):
            let actions = follow(&follower)
            self.phase = .following(follower)
            return self.ended(actions)
        case .leading(var leader, let debt):
            let actions = lead(&leader)
            self.phase = .leading(leader, debt: debt)
            return self.ended(actions)
        case .handingBack(var machine):
            let actions = handBack(&machine)
            self.phase = .handingBack(machine)
            return actions
        }
    }

    /// Where a machine has ended and something may still be held, the flight goes on until that is handed back.
    private mutating func ended(_ actions: [FlightAction]) -> [FlightAction] {
        // Matched, not compared: a comparison copies the action.
        guard case .finish? = actions.last else { return actions }
        let debt: HandBackStateMachine.Debt?
        let isReleasing: Bool
        switch self.phase {
        case .following(let follower): (debt, isReleasing) = (follower.debt, follower.isReleasing)
        case .leading(_, let leaders): (debt, isReleasing) = (leaders, false)
        case .handingBack: (debt, isReleasing) = (nil, false)
        }
        guard let debt else { return actions }
        let machine = HandBackStateMachine(
            debt,
            isReleasing: isReleasing,
            commandTimeout: self.terms.commandTimeout
        )
        self.phase = .handingBack(machine)
        return actions.dropLast() + machine.start()
    }
}
