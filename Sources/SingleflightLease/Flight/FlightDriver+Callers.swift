package import Singleflight
import Synchronization

/// The callers of a flight in this process: they join, wait, leave, and are told.
extension FlightDriver {
    /// What joining a flight comes to.
    package enum Seating: Sendable {
        case seated(SeatID)
        /// As many wait as may.
        case full
        /// The caller runs on behalf of this very flight.
        case reentrant
        /// The flight is over, or nobody waited for it any more.
        case closed
    }

    /// The path of code that runs on behalf of the flight.
    package var path: FlightPath { self.path(inside: .current) }

    /// The same for code that runs on behalf of others, too.
    func path(inside outer: FlightPath) -> FlightPath {
        FlightPath(
            shard: self.number,
            flight: FlightID(slot: 0, serial: 0),
            outer: outer,
            owner: self
        )
    }

    /// One more caller.
    package func join() -> Seating {
        let isInside = FlightPath.current.contains(shard: self.number, flight: FlightID(slot: 0, serial: 0))
        return self.state.withLock { state in
            guard state.isOpen else { return .closed }
            if isInside, !Planted.bug("flight-waits-for-itself") { return .reentrant }
            let limit = Planted.bug("any-number-may-wait") ? nil : self.context.maximumWaiters
            if let limit, state.seats.subscribers >= limit { return .full }
            return .seated(state.seats.take(as: .subscriber))
        }
    }

    /// A place for a handle of the leader's, which no limit counts; `nil` once the flight is over.
    func subscribe() -> SeatID? {
        self.state.withLock { state in
            guard case .none = state.ending else { return nil }
            return state.seats.take(as: .leader)
        }
    }

    /// How many callers wait, or may.
    package var callerCount: Int {
        self.state.withLock { $0.seats.occupied }
    }

    // MARK: - Waiting

    /// Waits for the flight's end. The place is vacated with it.
    func outcome(of seat: SeatID) async -> Awakening {
        let awakening = await withTaskCancellationHandler {
            if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
                await withTaskPriorityEscalationHandler {
                    await withContinuation { self.park(.task($0), at: seat, priority: Task.currentPriority) }
                } onPriorityEscalated: { _, priority in
                    self.raise(to: priority)
                }
            } else {
                await withContinuation { self.park(.task($0), at: seat, priority: Task.currentPriority) }
            }
        } onCancel: {
            self.leave(seat, as: .canceled)
        }
        guard case .decode = awakening else { return awakening }
        return .settled(self.decode())
    }

    /// Resumes `waiter`, once: when the flight has ended, or its place was left.
    package func park(_ waiter: FlightWaiter, at seat: SeatID, priority: TaskPriority) {
        enum Answer {
            case wait(raising: (any FlightOperation)?)
            case resume(Awakening)
        }
        /// At once, or when another thread has carried out what follows from the flight's end: a caller that is told
        /// finds nothing of the flight left.
        func answer(_ awakening: Awakening, _ state: inout State) -> Answer {
            guard state.effects.isActing else { return .resume(awakening) }
            state.effects.append(.next { waiter.resume(awakening) })
            return .wait(raising: nil)
        }
        let answer = self.state.withLock { state -> Answer in
            switch state.ending {
            case .none:
                guard state.seats.suspend(seat, waiter) else { return .resume(Self.gone) }
                let isMoreUrgent = priority.rawValue > state.priority && !Planted.bug("urgent-caller-not-noticed")
                guard isMoreUrgent else { return .wait(raising: nil) }
                state.priority = priority.rawValue
                return .wait(raising: state.operation)
            case .undecoded(let end, let learnedAt):
                guard state.seats.vacate(seat) != nil else { return .resume(Self.gone) }
                state.ending = .decoding(end, learnedAt: learnedAt)
                return answer(.decode, &state)
            case .decoding:
                return state.seats.suspend(seat, waiter) ? .wait(raising: nil) : .resume(Self.gone)
            case .settled(let settled):
                return state.seats.vacate(seat) == nil ? .resume(Self.gone) : answer(.settled(settled), &state)
            }
        }
        switch answer {
        case .wait(let operation): operation?.raise(to: priority)
        case .resume(let awakening): waiter.resume(awakening)
        }
    }

    /// A caller that finds its own place gone was removed by its cancellation handler or by a call to ``leave(_:as:)``.
    private static var gone: Awakening { Task.isCancelled ? .canceled : .left }

    /// A caller leaves, whether or not it is suspended. An outcome that is already there stays there for it to collect.
    ///
    /// - Parameter awakening: what it is resumed with.
    package func leave(_ seat: SeatID, as awakening: Awakening = .left) {
        let now = self.context.store.clock.now
        let (waiter, effects) = self.state.withLock { state -> (FlightWaiter?, FlightEffects) in
            if case .settled = state.ending, case .canceled = awakening { return (nil, []) }
            guard let occupant = state.seats.vacate(seat) else { return (nil, []) }
            self.abandonIfDeserted(now, &state)
            return (occupant.waiter, state.effects.take())
        }
        waiter?.resume(awakening)
        self.carryOut(effects)
    }

    /// Ends the flight for this process if no caller is left here that waits for it.
    private func abandonIfDeserted(_ now: LeaseInstant, _ state: inout State) {
        let remaining = Planted.bug("one-that-leaves-ends-it-for-all") ? 0 : state.seats.occupied
        guard case .none = state.ending, state.isOpen, remaining == 0 else { return }
        if Planted.bug("last-that-leaves-ends-nothing") { return }
        // In the same critical section in which the last one leaves: a later caller begins a flight of its own.
        if !Planted.bug("deserted-flight-can-be-joined") { self.close(&state) }
        self.transition(.abandoned, now, &state)
    }

    /// A caller of this priority waits.
    func raise(to priority: TaskPriority) {
        let operation = self.state.withLock { state -> (any FlightOperation)? in
            guard case .none = state.ending, priority.rawValue > state.priority else { return nil }
            state.priority = priority.rawValue
            return state.operation
        }
        operation?.raise(to: priority)
    }

    // MARK: - Telling

    /// Nobody can join any more.
    func close(_ state: inout State) {
        guard state.isOpen else { return }
        state.isOpen = false
        if self.index != nil { state.effects.append(.close) }
    }

    /// The flight has come to its end: tells the callers, as soon as the outcome is decoded if it must be.
    func end(_ end: FlightEnd, _ now: LeaseInstant, _ state: inout State) {
        if !Planted.bug("ended-flight-can-be-joined") { self.close(&state) }
        self.stopWork(&state)
        state.isShared = state.seats.occupied > 1
        // Before the callers are told: a store that shuts down as soon as they are finds no flight under way.
        if state.machine.isFinal { self.letGo(&state) }
        let coordination: Coordination =
            if case .alone(_, let coordination) = self.kind { coordination } else { .degraded }
        if var settlement = self.context.settlement(of: end, handedIn: state.result, alone: coordination) {
            if let observer, case .finished(var finished) = settlement {
                finished.learnedAt = now
                if case .thisProcess = finished.source { finished.trace = observer.trace }
                settlement = .finished(finished)
            }
            self.settle(settlement, &state)
        } else {
            self.decideDecoding(of: end, now, &state)
        }
        switch end {
        case .followed(_, _, isReused: true, _): self.decide(.reuses, &state)
        case .unavailable(let error): self.decide(.over(error), &state)
        default: self.decide(.over(nil), &state)
        }
        if !state.feeds.isEmpty {
            state.effects.append(.finishFeeds(Array(state.feeds.values)))
            state.feeds = [:]
        }
    }

    /// A quick codec is left to a caller that waits, or to the next one that asks; any other gets a thread of its own.
    private func decideDecoding(of end: FlightEnd, _ now: LeaseInstant, _ state: inout State) {
        let isQuick = self.context.coder.isQuick(end)
        if isQuick, state.endHandlers.isEmpty, state.seats.waiting == 0 {
            state.ending = .undecoded(end, learnedAt: now)
            return
        }
        state.ending = .decoding(end, learnedAt: now)
        if isQuick, let waiter = state.seats.vacateFirstWaiting()?.waiter {
            state.effects.append(.decode(waiter))
        } else {
            state.effects.append(.decodeElsewhere)
        }
    }

    /// Decodes the outcome for all callers: once per flight, by the caller or the thread that is told to.
    ///
    /// Not inlined: each caller that waits would have room for it in its task's frame.
    @inline(never)
    package func decode() -> Settled {
        let pending = self.state.withLock { state -> (FlightEnd, LeaseInstant)? in
            switch state.ending {
            case .undecoded(let end, let learnedAt), .decoding(let end, let learnedAt):
                state.ending = .decoding(end, learnedAt: learnedAt)
                return (end, learnedAt)
            case .none, .settled:
                return nil
            }
        }
        var settlement = Settlement.canceled(.leaseLost)
        if let (end, learnedAt) = pending {
            settlement = self.context.decoded(end)
            if self.observer != nil, case .finished(var finished) = settlement {
                finished.learnedAt = learnedAt
                settlement = .finished(finished)
            }
        }
        let (settled, effects) = self.state.withLock { state -> (Settled, FlightEffects) in
            if case .settled(let settled) = state.ending { return (settled, []) }
            let settled = self.settle(settlement, &state)
            return (settled, state.effects.take())
        }
        self.carryOut(effects)
        return settled
    }

    @discardableResult
    func settle(_ settlement: Settlement, _ state: inout State) -> Settled {
        let settled = Settled(
            settlement: settlement,
            isShared: state.isShared,
            isDueForRefresh: state.isDueForRefresh
        )
        state.ending = .settled(settled)
        if !Planted.bug("callers-not-told") { state.effects.append(.resume(state.seats.vacateWaiting(), settled)) }
        if !state.endHandlers.isEmpty {
            state.effects.append(.notify(Array(state.endHandlers.values), settled))
            state.endHandlers = [:]
        }
        return settled
    }

    func decide(_ decision: LocalDecision, _ state: inout State) {
        guard state.decision == nil else { return }
        state.decision = decision
        guard !state.deciding.isEmpty else { return }
        state.effects.append(.decided(decision, state.deciding))
        state.deciding = []
    }

    /// Calls `handler` with what this process is in the flight, once that is known; at once if it is known already.
    package func onDecision(_ handler: @escaping @Sendable (LocalDecision) -> Void) {
        let decision = self.state.withLock { state in
            if state.decision == nil { state.deciding.append(handler) }
            return state.decision
        }
        if let decision { handler(decision) }
    }

    /// What this process is in the flight, as soon as it is known; `nil` if the task is canceled before.
    func decision() async -> LocalDecision? {
        if let decision = self.state.withLock({ $0.decision }) { return decision }
        let shared = SharedValue<LocalDecision>()
        self.onDecision { shared.set($0) }
        return await shared.value()
    }

    /// Calls `handler` once the flight has ended; at once, and without an identity to forget it by, if it has already.
    func onEnd(_ handler: @escaping @Sendable (Settled) -> Void) -> UInt64? {
        enum Answer {
            case kept(UInt64)
            case decode
            case settled(Settled)
        }
        let answer = self.state.withLock { state -> Answer in
            switch state.ending {
            case .settled(let settled):
                return .settled(settled)
            case .none, .undecoded, .decoding:
                state.nextHandler += 1
                state.endHandlers[state.nextHandler] = handler
                guard case .undecoded(let end, let learnedAt) = state.ending else { return .kept(state.nextHandler) }
                state.ending = .decoding(end, learnedAt: learnedAt)
                return .decode
            }
        }
        switch answer {
        case .kept(let id):
            return id
        case .decode:
            self.context.runtime.offload { _ = self.decode() }
            return nil
        case .settled(let settled):
            handler(settled)
            return nil
        }
    }

    func forgetHandler(_ id: UInt64) {
        // Handed out: what it holds must not be let go of under the lock.
        _ = self.state.withLock { $0.endHandlers.removeValue(forKey: id) }
    }
}
