import Singleflight
import Synchronization

/// The work of a flight in this process: an operation that runs if it leads, or a caller that leads by hand.
extension FlightDriver {
    // MARK: - Starting and stopping

    /// The lease is held, or none is needed.
    func startWork(under token: LeaseToken?, _ now: LeaseInstant, _ state: inout State) {
        state.token = token
        state.leadingSince = now
        if state.isByHand {
            if Planted.bug("lent-operation-runs-beside-the-leader"), let lent = state.operation {
                state.effects.append(.begin(lent, token))
            }
            if let operation = state.operation.take() { state.effects.append(.cancel(operation)) }
        } else if let operation = state.operation {
            state.effects.append(.begin(operation, token))
        } else if state.isOffered {
            state.beginsOnArrival = true
        } else {
            // The caller that was to do the work went away while the store was asked.
            state.effects.append(.giveUp)
            return
        }
        self.decide(.leads, &state)
        if let early = state.early.take() { state.effects.append(.handIn(early)) }
    }

    /// - Parameter wasWanted: whether the work's result was still to come.
    func loseWork(because loss: OperationLoss, wasWanted: Bool, _ state: inout State) {
        state.loss = state.loss ?? loss
        self.stopWork(&state)
        let (onLost, onAbandoned) = (state.onLost, state.onAbandoned.map { [$0] } ?? [])
        state.onLost = []
        state.onAbandoned = nil
        let called =
            wasWanted && !Planted.bug("leader-not-told-of-its-loss") ? (loss == .abandoned ? onAbandoned : onLost) : []
        if !called.isEmpty { state.effects.append(.call(called)) }
        state.effects.append(.discard(onLost + onAbandoned))
    }

    /// The work's result is not wanted any more, unless it has come.
    func stopWork(_ state: inout State) {
        guard let operation = state.operation.take() else { return }
        if Planted.bug("work-goes-on-unwanted") { return }
        state.effects.append(state.result == nil ? .cancel(operation) : .release(operation))
    }

    /// A caller that waits lends its operation: it runs should this process come to lead and nobody lead by hand.
    func offer(_ make: () -> any FlightOperation) {
        guard self.isStartedByHand else { return }
        let isTaken = self.state.withLock { state in
            guard state.machine.mayYetLead, !state.isOffered else { return false }
            state.isOffered = true
            return true
        }
        guard isTaken else { return }
        let operation = make()
        self.step(.offered) { state in
            guard case .none = state.ending, !state.machine.isFinal, !state.isByHand || state.machine.mayYetLead else {
                state.effects.append(.cancel(operation))
                return true
            }
            if !Planted.bug("lent-operation-forgotten") { state.operation = operation }
            if state.beginsOnArrival { state.effects.append(.begin(operation, state.token)) }
            return true
        }
        // Another caller may be more urgent than the one that lent the operation.
        let priority = self.state.withLock { $0.priority }
        if priority > Task.currentPriority.rawValue { operation.raise(to: TaskPriority(rawValue: priority)) }
    }

    // MARK: - Results

    /// Hands in the work's result. Returns whether it was wanted.
    @discardableResult
    package func handIn(_ result: Result<ErasedValue, any Error>) -> Bool {
        guard self.state.withLock({ $0.machine.isWorking }) || Planted.bug("second-result-wins") else { return false }
        // Outside of the lock: it is the user's code, and can be long.
        switch self.kind {
        case .leased, .following: break
        case .alone(_, .observed): return self.take(result, as: .value([]))
        case .alone: return self.take(self.context.coder.local(result), as: .value([]))
        }
        let encoded = self.context.coder.encode(result, trace: self.observer?.trace)
        return self.take(encoded.local, as: encoded.outcome)
    }

    /// Hands in an operation's result from the operation's own task.
    func handIn(fromTask result: Result<ErasedValue, any Error>) async {
        guard !self.handsInAtOnce(result) else {
            self.handIn(result)
            return
        }
        await withContinuation { (continuation: Continuation<Void>) in
            self.context.runtime.offload {
                self.handIn(result)
                continuation.resume(returning: ())
            }
        }
    }

    /// Whether an operation's task may hand in its result itself: no code of users then keeps it from others.
    package func handsInAtOnce(_ result: Result<ErasedValue, any Error>) -> Bool {
        if case .alone = self.kind, case .success = result { return true }
        return self.context.coder.encodesQuickly(result) || Planted.bug("slow-codec-in-the-operations-task")
    }

    private func take(_ result: Result<ErasedValue, any Error>, as outcome: StoredOutcome) -> Bool {
        self.step(.operationEnded(outcome)) { state in
            guard state.machine.isWorking || Planted.bug("second-result-wins") else { return false }
            state.result = result
            return true
        }
    }

    // MARK: - Leading by hand

    /// Hands in a result as soon as this process leads, if it ever does.
    func handInOnceLeading(_ result: Result<ErasedValue, any Error>) {
        let leads = self.state.withLock { state in
            if state.machine.mayYetLead { state.early = result }
            return state.machine.isWorking
        }
        if leads { self.handIn(result) }
    }

    /// The caller that leads by hand, or was to, goes away; with a reason, the flight ends for everybody. Returns
    /// whether that ended the leading.
    @discardableResult
    func leaderLeaves(reason: String? = nil) -> Bool {
        self.step(.leaderLeft(reason: reason)) { state in
            guard state.isByHand else { return false }
            if state.machine.mayYetLead, !Planted.bug("leader-that-left-is-waited-for") { state.isByHand = false }
            return state.machine.isWorking
        }
    }

    /// Calls `handler` when nobody waits any more, here or elsewhere. Only the first is kept.
    func onAbandoned(_ handler: @escaping @Sendable () -> Void) {
        self.state.withLock { state in
            if state.onAbandoned == nil, !Planted.bug("leader-not-told-that-nobody-waits") {
                state.onAbandoned = handler
            }
        }
    }

    /// Calls `handler` when the lease is lost before a result was handed in; soon if it is lost already.
    func onLost(_ handler: @escaping @Sendable () -> Void) {
        let isLost = self.state.withLock { state in
            if let loss = state.loss { return loss != .abandoned }
            if state.machine.isWorking { state.onLost.append(handler) }
            return false
        }
        if isLost { self.context.runtime.offload(handler) }
    }

    /// Whether the work's result is still wanted, as far as this process knows.
    package var isWorking: Bool {
        self.state.withLock { $0.machine.isWorking }
    }

    /// The token of the lease that this process holds, or held.
    var token: LeaseToken? {
        self.state.withLock { $0.token }
    }

    /// Whether this process leads the flight and still believes in its lease.
    package var isCurrent: Bool {
        let now = self.context.store.clock.now
        return self.state.withLock { $0.machine.isCurrent(now: now) }
    }

    /// Draws a fence under the lease.
    package func fence(token: LeaseToken, reply: @escaping ReplyHandler<FenceReply>) {
        self.context.store.send(FenceRequest(key: self.key, token: token), reply: reply)
    }

    /// Runs work on behalf of the flight: asking for its key inside is refused.
    @inline(__always)
    func perform<T>(_ work: () async throws -> T) async rethrows -> T {
        try await FlightPath.local.withValue(self.path, operation: work)
    }
}
