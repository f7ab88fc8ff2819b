package import Singleflight
import Synchronization

/// One flight in one process: its machine, its callers and its work under the one lock of the flight.
///
/// Whatever happens has one shape: lock, transition, unlock, act. A thread that makes a transition while another one is
/// acting leaves its effects to that one, so that effects come in the order of the transitions. No code of users, of
/// the store or of the system runs under the lock.
package final class FlightDriver: Sendable {
    /// Whether a flight asks the store.
    package enum Kind: Sendable {
        /// - Parameters:
        ///   - canTakeOver: whether there is an operation that can run if the leader is lost.
        ///   - refresh: if nobody waits for the flight, and it is over where another process leads.
        case leased(canTakeOver: Bool, refresh: Refresh? = nil)
        /// Waits for a flight that others lead, if there is one, and never leads.
        case following
        /// - Parameter longest: how long the operation may run; `nil` for any time.
        case alone(longest: Duration?, Coordination)
    }

    /// What makes a refresh needless, beside another leader.
    package enum Refresh: Sendable {
        case nothing
        /// A result that is kept for reuse for this time yet, or longer.
        case resultKept(atLeast: Duration)
    }

    enum Ending: Sendable {
        case none
        /// The outcome is here; the first caller that asks decodes it.
        case undecoded(FlightEnd, learnedAt: LeaseInstant)
        /// A caller or a thread is decoding it.
        case decoding(FlightEnd, learnedAt: LeaseInstant)
        case settled(Settled)
    }

    struct State: Sendable {
        var machine: FlightMachine
        var random: FlightRandom

        /// The flight of the key that callers of this process could join before, as long as it may have something to
        /// send.
        var predecessor: FlightDriver?

        // Acting.
        var effects = Turns<FlightEffect>()
        /// Tells the timer that counts from those that were asked for before it.
        var wakeSerial: UInt64 = 0
        var timer: LeaseTimer?
        var registration: InboxRegistration?

        // Callers.
        var seats = Seats<FlightWaiter>()
        /// Whether callers may join.
        var isOpen = true
        /// The highest priority known of the callers that wait.
        var priority: UInt8
        var ending = Ending.none
        var isShared = false
        var isDueForRefresh = false
        var endHandlers: [UInt64: @Sendable (Settled) -> Void] = [:]
        var nextHandler: UInt64 = 0
        var decision: LocalDecision?
        var deciding: [@Sendable (LocalDecision) -> Void] = []
        /// The callers that are part of other flights' work.
        var enclosed: [ObjectIdentifier: Enclosed] = [:]

        // Work.
        /// Whether the caller that started the flight leads by hand, or is to.
        var isByHand: Bool
        var operation: (any FlightOperation)?
        /// Whether a caller has offered an operation, which may still be on its way here.
        var isOffered = false
        /// Whether the work has begun under ``token``, or is to as soon as the operation comes.
        var beginsOnArrival = false
        var token: LeaseToken?
        var leadingSince: LeaseInstant?
        /// What was handed in before it was known whether this process leads.
        var early: Result<ErasedValue, any Error>?
        var result: Result<ErasedValue, any Error>?
        var loss: OperationLoss?
        var onAbandoned: (@Sendable () -> Void)?
        var onLost: [@Sendable () -> Void] = []

        // Progress.
        var progress: FlightProgress?
        /// How many reports the work has made.
        var reports: UInt64 = 0
        /// What the renewal that is under way tells the store, and what the store last acknowledged.
        var sentProgress: FlightProgress?
        var storedProgress: FlightProgress?
        /// The latest report that readers here were told, counted for them.
        var latestReport: (serial: UInt64, report: FlightProgress)?
        /// The number of the latest report of another process's flight.
        var heardReport: (token: LeaseToken, number: UInt64)?
        var feeds: [ObjectIdentifier: ProgressFeed] = [:]

        // Streams.
        /// In the order of their coming, so that simulated runs repeat exactly.
        var streamFeeds: [any StreamFeeding] = []
        var streamSource: StreamSource?
    }

    package let key: FlightKey
    let context: FlightContext
    /// Told of the flight's steps; `nil` if nobody wants to know.
    package let observer: (any FlightObserving)?
    /// Where callers find the flight while it is open; `nil` for one that nobody can join.
    let index: FlightIndex?
    let isStartedByHand: Bool
    let kind: Kind
    /// Distinguishes the flight on a ``FlightPath``.
    let number: UInt64
    let state: Mutex<State>
    /// Where the parts of a stream are kept that has no lease.
    let localChunks: LocalChunks?

    /// The place of the caller that starts the flight.
    package let starterSeat: SeatID

    init(
        _ key: FlightKey,
        _ kind: Kind,
        _ context: FlightContext,
        in index: FlightIndex? = nil,
        isByHand: Bool,
        observer: (any FlightObserving)? = nil
    ) {
        self.key = key
        self.kind = kind
        self.context = context
        self.index = index
        self.isStartedByHand = isByHand
        self.observer = observer
        self.number = ShardNumber.next()
        self.localChunks = if context.streams != nil, case .alone = kind { LocalChunks() } else { nil }
        let machine: FlightMachine =
            switch kind {
            case .leased(let canTakeOver, let refresh):
                FlightMachine(
                    terms: context.terms,
                    outcomes: context.outcomes,
                    canTakeOver: canTakeOver,
                    isRefresh: refresh != nil
                )
            case .following:
                FlightMachine(following: context.terms)
            case .alone(let longest, _):
                FlightMachine(alone: context.terms, longest: longest)
            }
        var state = State(
            machine: machine,
            random: context.runtime.random(),
            priority: Task.currentPriority.rawValue,
            isByHand: isByHand
        )
        self.starterSeat = state.seats.take(as: .leader)
        self.state = Mutex(state)
    }

    private var refresh: Refresh? {
        if case .leased(_, let refresh) = self.kind { refresh } else { nil }
    }

    /// Whether nothing of the flight is left in this process, nor anything that it may hold at the store.
    package var isFinal: Bool { self.state.withLock { $0.machine.isFinal } }

    // MARK: - Events

    /// Another flight of the key has closed, and what follows from that may still be on its way to the store: this one
    /// begins after it. Else it would be told to wait for the lease that is just being given up.
    func comes(after other: FlightDriver) {
        self.state.withLock { $0.predecessor = other }
    }

    /// Calls `body` after the effects of all transitions so far.
    private func afterEffects(_ body: @escaping @Sendable () -> Void) {
        let isIdle = self.state.withLock { state in
            if state.effects.isActing { state.effects.append(.next(body)) }
            return !state.effects.isActing
        }
        if isIdle { body() }
    }

    /// Begins the flight. To be called once.
    ///
    /// - Parameter operation: what runs if this process leads; `nil` if the starter works by hand, or never leads.
    package func begin(_ operation: (any FlightOperation)?) {
        if let predecessor = self.state.withLock({ $0.predecessor.take() }) {
            return predecessor.afterEffects { self.begin(operation) }
        }
        // Before anything is sent: an announcement can overtake the reply to the request that it belongs to.
        if case .leased = self.kind { self.listen() }
        self.step(.start) { state in
            if let operation {
                if state.machine.isFinal {
                    state.effects.append(.cancel(operation))
                } else {
                    state.operation = operation
                }
            }
            return true
        }
    }

    /// Listens as one that waits, instead of as before.
    private func listen() {
        let registration = self.context.store.listen(for: self.key) { event in self.received(event) }
        let obsolete = self.state.withLock { state -> InboxRegistration? in
            // The store may have shut down between the two, and ended the flight.
            guard !state.machine.isFinal else { return registration }
            defer { state.registration = registration }
            return state.registration
        }
        obsolete?.cancel()
    }

    private func received(_ event: InboxEvent) {
        switch event {
        case .announced(let announcement):
            // Neither is news for the flight itself.
            switch announcement.news {
            case .progress(let progress): return self.progressed(progress, of: announcement.token)
            case .chunk(let chunk): return self.stored(chunk, under: announcement.token)
            default: break
            }
        case .resumed:
            if self.context.streams != nil { self.newsMissed() }
        case .interrupted, .shuttingDown:
            break
        }
        self.step(.heard(event))
    }

    private func timerFired(serial: UInt64) {
        self.step(.timer) { state in
            guard state.wakeSerial == serial else { return false }
            state.timer = nil
            return true
        }
    }

    // MARK: - Lock, transition, unlock, act

    /// Lets an event happen.
    ///
    /// - Parameter change: what changes beside the machine, under the lock; the event does not happen if it answers
    ///   false.
    @discardableResult
    func step(_ event: FlightEvent, _ change: (inout State) -> Bool = { _ in true }) -> Bool {
        let now = self.context.store.clock.now
        let effects = self.state.withLock { state -> FlightEffects? in
            guard change(&state) else { return nil }
            self.transition(event, now, &state)
            return state.effects.take()
        }
        guard let effects else { return false }
        self.carryOut(effects)
        return true
    }

    /// Carries out a turn's effects, and those that come meanwhile.
    ///
    /// Not inlined: it has room for many kinds of effects, and is used in many places.
    @inline(never)
    func carryOut(_ turn: consuming FlightEffects) {
        var effects = turn
        while !effects.isEmpty {
            for effect in effects {
                self.act(effect)
            }
            // What effects hold is let go of outside of the lock.
            effects = self.state.withLock { $0.effects.next() }
        }
    }

    func transition(_ event: FlightEvent, _ now: LeaseInstant, _ state: inout State) {
        let wasWorking = state.machine.isWorking
        let deadline = self.observer == nil ? nil : state.machine.leaseDeadline
        let awaited = state.enclosed.isEmpty ? nil : state.awaitedToken
        if case .replied(.success(.enter(.lead)), _) = event, let registration = state.registration {
            state.effects.append(.stopWaiting(registration))
        }
        let actions = state.machine.handle(event, now: now, using: &state.random)
        if self.observer != nil {
            state.effects.append(.observe(ObservedStep(event: event, actions: actions, now: now, deadline: deadline)))
        }
        switch event {
        case .replied(.success(.enter(.follow)), _):
            // A caller that wanted to lead by hand waits now, and does not know how to take over.
            state.isByHand = false
            // A process that led before stopped waiting then: it registers anew, as one that waits.
            if state.token != nil { state.effects.append(.listen) }
            self.decide(.follows, &state)
        case .replied(.success(.enter(.reuse(_, .value, let freshness?))), _):
            state.isDueForRefresh = self.context.terms.isDueForRefresh(freshness)
        case .replied(.success(.renew(.renewed)), _):
            state.storedProgress = state.sentProgress
        case .replied(.success(.inspect), to: .look) where state.machine.followedToken != nil:
            // Not before: a process that only looks is no reason to keep it among the waiters of another flight.
            state.effects.append(.listen)
        default:
            break
        }
        for action in actions {
            self.apply(action, wasWorking: wasWorking, now, &state)
        }
        switch event {
        case .replied(.success(.enter(.follow)), _), .replied(.success(.poll(.running)), _):
            // What was announced before, or got lost, is in the lease's record only.
            if !state.feeds.isEmpty { state.effects.append(.readProgress) }
        default:
            break
        }
        if self.context.streams != nil { self.findSource(&state) }
        if !state.enclosed.isEmpty { self.askForCircles(after: event, awaited, &state) }
    }

    private func apply(_ action: FlightAction, wasWorking: Bool, _ now: LeaseInstant, _ state: inout State) {
        switch action {
        case .send(let request):
            if case .leave = request, Planted.bug("leaving-not-said") { return }
            switch request {
            case .leave, .release(_, .withdraw):
                // This flight no longer waits: the store must not count it among those that keep the process
                // registered.
                if let registration = state.registration { state.effects.append(.stopWaiting(registration)) }
            case .look, .enter, .poll, .renew, .complete, .release, .revoke:
                break
            }
            state.effects.append(.send(request, at: now))
        case .wake(let deadline):
            state.wakeSerial += 1
            state.effects.append(.wake(at: deadline, serial: state.wakeSerial, instead: state.timer.take()))
        case .startOperation(let token):
            self.startWork(under: token, now, &state)
        case .moveOperation(let token):
            state.token = token
        case .cancelOperation(let loss):
            self.loseWork(because: loss, wasWanted: wasWorking, &state)
        case .tell(let end):
            self.end(end, now, &state)
        case .finish:
            self.finish(&state)
        }
    }

    private func finish(_ state: inout State) {
        if case .none = state.ending {
            let reason: Cancellation =
                switch state.loss {
                case .leaseLost: .leaseLost
                case .shutDown: .leaderShutDown
                case .abandoned, .tooLong, nil: .abandoned
                }
            self.close(&state)
            self.stopWork(&state)
            self.settle(.canceled(reason), &state)
            self.decide(.over(nil), &state)
        }
        self.letGo(&state)
        let handlers = state.onLost + (state.onAbandoned.map { [$0] } ?? [])
        state.onLost = []
        state.onAbandoned = nil
        if !handlers.isEmpty { state.effects.append(.discard(handlers)) }
    }

    /// The flight needs neither its timer nor its registration any more.
    func letGo(_ state: inout State) {
        state.wakeSerial += 1
        let (timer, registration) = (state.timer.take(), state.registration.take())
        if timer != nil || registration != nil { state.effects.append(.letGo(timer, registration)) }
    }

    private func act(_ effect: FlightEffect) {
        switch effect {
        case .observe(let step):
            self.observer?.saw(step)
        case .listen:
            self.listen()
        case .send(let request, let now):
            self.context.store.send(self.leaseRequest(request, at: now)) { reply in
                self.step(.replied(reply, to: request))
            }
        case .stopWaiting(let registration):
            registration.stopWaiting()
        case .wake(let deadline, let serial, let obsolete):
            self.schedule(deadline, serial, instead: obsolete)
        case .begin(let operation, let token):
            operation.begin(token: token)
        case .cancel(let operation):
            if !Planted.bug("operation-not-told-to-stop") { operation.cancel() }
        case .call(let handlers):
            for handler in handlers {
                self.context.runtime.offload(handler)
            }
        case .decided(let decision, let handlers):
            for handler in handlers {
                handler(decision)
            }
        case .handIn(let result):
            self.handIn(result)
        case .giveUp:
            self.step(.leaderLeft(reason: nil))
        case .close:
            self.index?.remove(self)
        case .decode(let waiter):
            waiter.resume(.decode)
        case .decodeElsewhere where Planted.bug("slow-codec-on-the-stores-thread"):
            _ = self.decode()
        case .decodeElsewhere:
            self.context.runtime.offload { _ = self.decode() }
        case .resume(let seats, let settled):
            for case .waiting(_, let waiter, _) in seats {
                waiter.resume(.settled(settled))
            }
        case .notify(let handlers, let settled):
            for handler in handlers {
                handler(settled)
            }
        case .finishFeeds(let feeds):
            for feed in feeds {
                feed.flightEnded()
            }
        case .readProgress:
            self.readProgress()
        case .tellSource(let source, let feeds):
            for feed in feeds { feed.reads(source) }
        case .askForCircle(let token, let enclosed):
            self.ask(token, for: enclosed)
        case .letGo(let timer, let registration):
            if let timer { self.context.store.clock.cancel(timer) }
            if !Planted.bug("flight-listens-on") { registration?.cancel() }
        case .next(let body):
            body()
        case .discard, .release:
            break
        }
    }

    private func schedule(_ deadline: LeaseInstant, _ serial: UInt64, instead obsolete: LeaseTimer?) {
        let clock = self.context.store.clock
        if let obsolete { clock.cancel(obsolete) }
        let timer = clock.schedule(at: deadline) { self.timerFired(serial: serial) }
        let isObsolete = self.state.withLock { state in
            guard state.wakeSerial == serial else { return true }
            state.timer = timer
            return false
        }
        if isObsolete { clock.cancel(timer) }
    }

    // MARK: - Requests

    private func enterRequest(
        _ token: LeaseToken,
        isRepetition: Bool,
        validity: Duration,
        _ now: LeaseInstant
    ) -> EnterRequest {
        let (note, hasLed) = self.state.withLock { (self.note(renewals: 0, now, $0), $0.token != nil) }
        var request = EnterRequest(
            key: self.key,
            token: token,
            terms: self.context.terms.lease,
            note: note,
            validity: validity,
            isRepetition: isRepetition,
            isRegaining: hasLed
        )
        switch self.refresh {
        case .nothing: request.terms.acceptsReuse = false
        case .resultKept(let least): request.leastLife = least
        case nil: break
        }
        return request
    }

    /// The request as the store takes it.
    private func leaseRequest(_ request: FlightRequest, at now: LeaseInstant) -> LeaseRequest {
        let (key, lease) = (self.key, self.context.terms.lease)
        switch request {
        case .look:
            return .inspect(InspectRequest(key: key))
        case .enter(let token, let isRepetition, let until):
            return .enter(self.enterRequest(token, isRepetition: isRepetition, validity: now.duration(to: until), now))
        case .poll(let token, let mayEnd):
            return .poll(PollRequest(key: key, token: token, mayEnd: mayEnd))
        case .leave(let token):
            return .leave(LeaveRequest(key: key, token: token))
        case .renew(let token, let renewals, let isAbandoned):
            let (note, news) = self.state.withLock { state in
                state.sentProgress = state.progress
                let isNew = state.progress != state.storedProgress
                return (self.note(renewals: renewals, now, state), isNew ? state.progress : nil)
            }
            return .renew(
                RenewRequest(
                    key: key,
                    token: token,
                    terms: lease,
                    note: note,
                    news: news,
                    isAbandoned: isAbandoned
                )
            )
        case .complete(let token, let outcome):
            return .complete(self.completeRequest(token, outcome))
        case .release(let token, let mode):
            return .release(ReleaseRequest(key: key, token: token, mode: mode))
        case .revoke(let token, let reason):
            return .revoke(
                RevokeRequest(key: key, token: token, by: self.context.store.label, reason: reason)
            )
        }
    }

    /// What a refresh fails with is not kept: the earlier result is, to its end.
    private func completeRequest(_ token: LeaseToken, _ outcome: StoredOutcome) -> CompleteRequest {
        var request = CompleteRequest(
            key: self.key,
            token: token,
            outcome: outcome,
            reuse: self.context.terms.reuse(of: outcome)
        )
        if self.refresh != nil, !Planted.bug("failed-refresh-ends-reuse") {
            if case .failure = outcome { request.reuse = .zero }
            request.keepsEarlier = true
        }
        return request
    }

    private func note(renewals: Int, _ now: LeaseInstant, _ state: State) -> LeaseNote {
        LeaseNote(
            label: self.context.store.label,
            age: state.leadingSince?.duration(to: now) ?? .zero,
            renewals: renewals,
            progress: state.progress,
            trace: self.observer?.trace
        )
    }
}
