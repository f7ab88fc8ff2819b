import Synchronization

/// What a flight needs of the layer above it: the operation, and somewhere to put what the flight came to.
package protocol FlightOwner: Sendable {
    /// Runs the operation; its end is told by ``FlightDriver/operationFinished(_:)``. Called at most once.
    func startOperation(token: LeaseToken, driver: FlightDriver)
    /// Cancels the operation's task. Its end need not be told any more.
    func cancelOperation(_ loss: OperationLoss)
    /// Tells the local callers. Called at most once.
    func resolve(_ resolution: FlightResolution)
    /// The flight is over in this process: an operation that has not begun will not. Called once, last.
    func finish()
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
        observer: FlightObserver? = nil
    ) {
        self.key = key
        self.store = store
        self.terms = terms
        self.owner = owner
        self.observer = observer
        self.state = Mutex(State(machine: FlightStateMachine(terms: terms, tooLong: tooLong), random: random))
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

    package func operationFinished(_ outcome: StoredOutcome) {
        self.observer?.operationFinished()
        self.drive { state, now in state.machine.operationFinished(outcome, now: now) }
    }

    private func received(_ event: InboxEvent) {
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

    /// Kept for the next renewal, which carries it to the store.
    package func report(_ progress: FlightProgress) {
        self.state.withLock { $0.progress = progress }
    }

    package func fence(token: LeaseToken, reply: @escaping LeaseReply<FenceReply>) {
        self.store.fence(self.key, token: token, reply: reply)
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
            self.store.enter(request) { reply in
                self.observer?.entered(reply, under: token)
                if case .success(.lead) = reply {
                    self.state.withLock { $0.registration }?.stopWaiting()
                }
                self.drive { $0.machine.enterReplied(reply, to: token, now: $1, using: &$0.random) }
            }
        case .poll(let token):
            let request = PollRequest(
                key: self.key,
                token: token,
                leaderLoss: self.terms.lease.leaderLoss,
                retention: self.terms.lease.retention
            )
            self.store.poll(request) { reply in
                self.observer?.polled(reply)
                self.drive { $0.machine.pollReplied(reply, now: $1, using: &$0.random) }
            }
        case .renew(let token, let attempt, let renewals):
            let request = RenewRequest(
                key: self.key,
                token: token,
                terms: self.terms.lease,
                attempt: attempt,
                note: self.note(renewals: renewals)
            )
            self.store.renew(request) { reply in
                if let observer = self.observer {
                    observer.renewed(reply, of: token, before: self.state.withLock { $0.machine.leaseDeadline })
                }
                self.drive { $0.machine.renewReplied(reply, now: $1, using: &$0.random) }
            }
        case .complete(let token, let outcome):
            let request = CompleteRequest(
                key: self.key,
                token: token,
                outcome: outcome,
                retention: self.terms.lease.retention,
                reuse: self.terms.reuse(of: outcome)
            )
            self.store.complete(request) { reply in
                self.drive { $0.machine.completeReplied(reply, now: $1, using: &$0.random) }
            }
        case .release(let token, let mode):
            let request = ReleaseRequest(key: self.key, token: token, mode: mode, retention: self.terms.lease.retention)
            self.store.release(request) { reply in
                self.drive { $0.machine.releaseReplied(reply, now: $1, using: &$0.random) }
            }
        case .leave(let token):
            // This flight no longer waits: the store must not count it among those that keep the process registered.
            self.state.withLock { $0.registration }?.stopWaiting()
            self.store.leave(self.key, token: token) { _ in }
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
