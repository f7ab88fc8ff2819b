import Synchronization

/// What a flight needs of the layer above it: the operation, and somewhere to put what the flight came to.
package protocol FlightOwner: Sendable {
    /// Runs the operation; its end is told by ``FlightDriver/operationFinished(_:)``. Called at most once.
    func startOperation(token: LeaseToken, driver: FlightDriver)
    /// Another process leads. May be called more than once, also late.
    func followsElsewhere()
    /// Cancels the operation's task. Its end need not be told any more.
    func cancelOperation(_ loss: OperationLoss)
    /// Tells the local callers. Called at most once.
    func resolve(_ resolution: FlightResolution)
    /// The flight is over in this process: an operation that has not begun will not. Called once, last.
    func finish()
    /// The operation, here or elsewhere, said how far it is.
    func progressed(_ progress: FlightProgress)
    /// Whether somebody here wants to know how far the operation is.
    var readsProgress: Bool { get }
}

extension FlightOwner {
    package func followsElsewhere() {}
    package func progressed(_ progress: FlightProgress) {}
    package var readsProgress: Bool { false }
}

/// Drives a flight's state machine: lock, transition, unlock, act.
///
/// Actions are carried out in the order of the transitions that asked for them, whichever threads those came from: who
/// makes a transition while somebody else is acting leaves its actions to that one.
package final class FlightDriver: Sendable {
    private struct State {
        var machine: FlightStateMachine
        var random: FlightRandom
        var queue: [FlightAction] = []
        var isActing = false
        /// Tells the timer that counts from those that were asked for before it.
        var wakeSerial: UInt64 = 0
        var timer: LeaseTimer?
        var progress: FlightProgress?
        /// What the store last acknowledged of it.
        var storedProgress: FlightProgress?
        var leadingSince: LeaseInstant?
        var registration: InboxRegistration?
    }

    package let key: FlightKey
    private let store: any LeaseStore
    private let terms: FlightTerms
    private let owner: any FlightOwner
    /// Who is told of the flight's steps; `nil` if nobody wants to know.
    private let observer: FlightObserver?
    private let state: Mutex<State>

    package init(
        key: FlightKey,
        store: any LeaseStore,
        terms: FlightTerms,
        tooLong: StoredOutcome,
        random: FlightRandom,
        owner: any FlightOwner,
        canTakeOver: Bool = true,
        observer: FlightObserver? = nil
    ) {
        self.key = key
        self.store = store
        self.terms = terms
        self.owner = owner
        self.observer = observer
        let machine = FlightStateMachine(terms: terms, tooLong: tooLong, canTakeOver: canTakeOver)
        self.state = Mutex(State(machine: machine, random: random))
    }

    // MARK: - Events

    package func start() {
        self.observer?.started()
        // Before anything is sent: an announcement can overtake the reply to the request that it belongs to.
        let registration = self.store.listen(for: self.key) { event in self.received(event) }
        let isObsolete = self.state.withLock { state in
            // The store may have shut down between the two, and ended the flight.
            guard !state.machine.isFinal else { return true }
            state.registration = registration
            return false
        }
        if isObsolete {
            registration.cancel()
        }
        self.drive { state, now in state.machine.start(now: now, using: &state.random) }
    }

    /// The last local caller left.
    package func abandon() {
        self.drive { state, _ in state.machine.abandoned() }
    }

    /// There is an operation now that can run if the leader is lost.
    package func allowTakeover() {
        self.state.withLock { $0.machine.allowTakeover() }
    }

    /// Whoever works by hand goes away without a result; with a reason, it ends the flight for everybody.
    package func leaderLeaves(reason: String?) {
        self.drive { state, _ in state.machine.leaderLeaves(reason: reason) }
    }

    package func operationFinished(_ outcome: StoredOutcome) {
        self.observer?.operationFinished()
        self.drive { state, now in state.machine.operationFinished(outcome, now: now) }
    }

    private func received(_ event: InboxEvent) {
        if case .announced(let announcement) = event, case .progress(let progress) = announcement.news {
            // No news for the flight itself.
            return self.progressed(progress, of: announcement.token)
        }
        self.drive { state, now in state.machine.inbox(event, now: now, using: &state.random) }
    }

    private func timerFired(serial: UInt64) {
        self.drive { state, now in
            guard state.wakeSerial == serial else { return [] }
            state.timer = nil
            return state.machine.timerFired(now: now, using: &state.random)
        }
    }

    // MARK: - For the operation

    /// Whether this process leads the flight and still believes in its lease.
    package var isCurrent: Bool {
        let now = self.store.clock.now
        return self.state.withLock { $0.machine.isCurrent(now: now) }
    }

    /// Tells those who wait here; the next renewal, which comes earlier for it, tells the store and those who wait elsewhere.
    package func report(_ progress: FlightProgress) {
        let progress = progress.shortened
        self.drive { state, _ in
            state.progress = progress
            return state.machine.progressed()
        }
        self.owner.progressed(progress)
    }

    /// Reads how far the leader is from the lease's record, which tells what was announced before this process listened.
    func readProgress() {
        self.store.send(InspectRequest(key: self.key)) { reply in
            guard case .success(let inspection) = reply, let lease = inspection.lease,
                let progress = lease.note.progress
            else { return }
            self.progressed(progress, of: lease.token)
        }
    }

    private func progressed(_ progress: FlightProgress, of token: LeaseToken) {
        guard self.state.withLock({ $0.machine.followedToken == token }) else { return }
        self.owner.progressed(progress)
    }

    package func fence(token: LeaseToken, reply: @escaping ReplyHandler<FenceReply>) {
        self.store.send(FenceRequest(key: self.key, token: token), reply: reply)
    }

    // MARK: - Acting

    private func drive(_ transition: (inout State, LeaseInstant) -> [FlightAction]) {
        let now = self.store.clock.now
        var actions = self.state.withLock { state in
            let actions = transition(&state, now)
            guard !state.isActing else {
                state.queue += actions
                return [FlightAction]()
            }
            // Nobody acts, so nothing is queued.
            state.isActing = !actions.isEmpty
            return actions
        }
        while !actions.isEmpty {
            for action in actions {
                self.act(action)
            }
            actions = self.state.withLock { state in
                state.isActing = !state.queue.isEmpty
                return Self.takeQueue(&state)
            }
        }
    }

    private static func takeQueue(_ state: inout State) -> [FlightAction] {
        let queue = state.queue
        state.queue = []
        return queue
    }

    private func act(_ action: FlightAction) {
        self.observer?.acting(action)
        switch action {
        case .enter(let token, let isRepetition, let until):
            let request = EnterRequest(
                key: self.key,
                token: token,
                terms: self.terms.lease,
                note: self.note(renewals: 0),
                validity: self.store.clock.now.duration(to: until),
                isRepetition: isRepetition
            )
            self.store.send(request) { reply in
                self.observer?.entered(reply, under: token)
                if case .success(.lead) = reply {
                    self.state.withLock { $0.registration }?.stopWaiting()
                }
                if case .success(.follow) = reply {
                    self.owner.followsElsewhere()
                }
                self.drive { $0.machine.enterReplied(reply, to: token, now: $1, using: &$0.random) }
                if case .success(.follow) = reply, self.owner.readsProgress {
                    self.readProgress()
                }
            }
        case .poll(let token):
            self.poll(token, self.terms.lease.leaderLoss)
        case .settle(let token):
            self.poll(token, .cancel)
        case .renew(let token, let attempt, let renewals):
            let request = RenewRequest(
                key: self.key,
                token: token,
                terms: self.terms.lease,
                attempt: attempt,
                note: self.note(renewals: renewals),
                news: self.state.withLock { $0.progress == $0.storedProgress ? nil : $0.progress }
            )
            self.store.send(request) { reply in
                if let observer = self.observer {
                    observer.renewed(reply, of: token, before: self.state.withLock { $0.machine.leaseDeadline })
                }
                self.drive { state, now in
                    if case .success(.renewed) = reply {
                        state.storedProgress = request.news ?? state.storedProgress
                    }
                    return state.machine.renewReplied(reply, now: now, using: &state.random)
                }
            }
        case .complete(let token, let outcome):
            let request = CompleteRequest(
                key: self.key,
                token: token,
                outcome: outcome,
                retention: self.terms.lease.retention,
                reuse: self.terms.reuse(of: outcome)
            )
            self.store.send(request) { reply in
                self.drive { $0.machine.completeReplied(reply, now: $1, using: &$0.random) }
            }
        case .release(let token, let mode):
            let request = ReleaseRequest(key: self.key, token: token, mode: mode, retention: self.terms.lease.retention)
            self.store.send(request) { reply in
                self.drive { $0.machine.releaseReplied(reply, now: $1, using: &$0.random) }
            }
        case .revoke(let token, let reason):
            let request = RevokeRequest(
                key: self.key,
                token: token,
                by: self.store.label,
                reason: reason,
                retention: self.terms.lease.retention
            )
            self.store.send(request) { _ in }
        case .leave(let token):
            // This flight no longer waits: the store must not count it among those that keep the process registered.
            self.state.withLock { $0.registration }?.stopWaiting()
            self.store.send(LeaveRequest(key: self.key, token: token)) { _ in }
        case .startOperation(let token):
            let now = self.store.clock.now
            self.state.withLock { $0.leadingSince = now }
            self.owner.startOperation(token: token, driver: self)
        case .cancelOperation(let loss):
            self.owner.cancelOperation(loss)
        case .resolve(let resolution):
            self.owner.resolve(resolution)
        case .wake(let deadline):
            self.wake(at: deadline)
        case .finish:
            self.letGo()
            self.owner.finish()
        }
    }

    private func poll(_ token: LeaseToken, _ leaderLoss: LeaderLossPolicy) {
        let request = PollRequest(
            key: self.key,
            token: token,
            leaderLoss: leaderLoss,
            retention: self.terms.lease.retention
        )
        self.store.send(request) { reply in
            self.observer?.polled(reply)
            self.drive { $0.machine.pollReplied(reply, now: $1, using: &$0.random) }
            if case .success(.running) = reply, self.owner.readsProgress {
                // Announcements of it may have been lost.
                self.readProgress()
            }
        }
    }

    private func note(renewals: Int) -> LeaseNote {
        let (progress, leadingSince) = self.state.withLock { ($0.progress, $0.leadingSince) }
        let age = leadingSince?.duration(to: self.store.clock.now) ?? .zero
        return LeaseNote(
            label: self.store.label,
            age: age,
            renewals: renewals,
            progress: progress,
            trace: self.observer?.trace
        )
    }

    private func wake(at deadline: LeaseInstant) {
        let (serial, obsolete) = self.state.withLock { state in
            state.wakeSerial += 1
            return (state.wakeSerial, state.timer.take())
        }
        if let obsolete {
            self.store.clock.cancel(obsolete)
        }
        let timer = self.store.clock.schedule(at: deadline) { self.timerFired(serial: serial) }
        // Only the acting thread schedules, so no other timer can have been stored meanwhile; this one may have fired.
        self.state.withLock { $0.timer = timer }
    }

    private func letGo() {
        let (timer, registration) = self.state.withLock { state in
            state.wakeSerial += 1
            return (state.timer.take(), state.registration.take())
        }
        if let timer {
            self.store.clock.cancel(timer)
        }
        registration?.cancel()
    }
}
