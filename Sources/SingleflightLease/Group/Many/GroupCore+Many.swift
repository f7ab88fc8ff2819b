import Singleflight
import Synchronization

/// One call for many keys: a call for each, all begun before any is waited for, so that their requests go out together.
extension GroupCore {
    /// - Parameter told: called with each key's outcome as it comes, by the key's place in `keys`; once for each.
    func run(
        _ keys: [FlightKey],
        waitingAtMost limit: Duration?,
        unavailable: UnavailablePolicy?,
        operation: @escaping ManyWork.Operation,
        told: (Int, Outcome<ErasedValue>) -> Void
    ) async {
        guard !keys.isEmpty else { return }
        let presence = WorkPresence(ManyWork(count: keys.count, clock: self.context.store.clock, operation))
        presence.work.start(waitingAtMost: self.context.terms.commandTimeout / 4)
        let waits = ManyWaits()
        let calls = keys.map { self.call($0, waitingAtMost: limit, unavailable: unavailable) }
        await withTaskCancellationHandler {
            if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
                await withTaskPriorityEscalationHandler {
                    await self.go(through: calls, of: keys, presence, waits, told)
                } onPriorityEscalated: { _, priority in
                    waits.raise(to: priority)
                }
            } else {
                await self.go(through: calls, of: keys, presence, waits, told)
            }
        } onCancel: {
            waits.cancel()
        }
    }

    private func go(
        through calls: [GroupCall],
        of keys: [FlightKey],
        _ presence: WorkPresence,
        _ waits: ManyWaits,
        _ told: (Int, Outcome<ErasedValue>) -> Void
    ) async {
        var inside: [Int: FlightWaits.Wait] = [:]
        for (index, (key, call)) in zip(keys, calls).enumerated() {
            let step = self.begin(key, call, &inside[index]) { WorkPart(index, $0, $1, presence) }
            self.go(on: step, index, presence.work, waits, &inside[index], told)
        }
        while !waits.isEmpty {
            for (index, awakening) in await waits.next() {
                guard let waiting = waits.remove(index) else { continue }
                let step = self.resumed(waiting, awakening) { WorkPart(index, $0, $1, presence) }
                self.go(on: step, index, presence.work, waits, &inside[index], told)
            }
        }
    }

    private func begin(
        _ key: FlightKey,
        _ call: GroupCall,
        _ inside: inout FlightWaits.Wait?,
        work: WorkMaker
    ) -> ManyStep {
        var call = call
        if Task.isCancelled { return ManyStep(.ended(.canceled(.callerCanceled)), call) }
        let path = FlightPath.current
        if !path.isOutside, self.isCoalescing {
            switch self.context.wait(for: key, on: path) {
            case .success(let wait):
                inside = wait
                call.enclosed = EnclosedCall(on: path)
            case .failure(let error):
                return ManyStep(.ended(.canceled(.refused(error))), call)
            }
        }
        return ManyStep(self.admit(key, call, work: work), call)
    }

    private func resumed(_ waiting: ManyWaits.Waiting, _ awakening: Awakening, work: WorkMaker) -> ManyStep {
        let wait = waiting.wait
        // Decoded here: the thread that brings the store's reply must not be kept.
        let seen: Awakening = if case .decode = awakening { .settled(wait.driver.decode()) } else { awakening }
        let settled = wait.end(seen, waiting.timer, nil)
        return ManyStep(self.resumed(wait, settled, work: work), wait.call, isFirst: false)
    }

    private func go(
        on step: ManyStep,
        _ index: Int,
        _ work: ManyWork,
        _ waits: ManyWaits,
        _ inside: inout FlightWaits.Wait?,
        _ told: (Int, Outcome<ErasedValue>) -> Void
    ) {
        switch step.step {
        case .waits(let wait):
            let leads = wait.call.isStarter
            if step.isFirst {
                wait.driver.onDecision { decision in
                    switch decision {
                    case .leads where leads: break
                    case .leads, .follows, .reuses: work.doesNotLead(index)
                    // The call may yet run the operation by itself.
                    case .over: break
                    }
                }
            } else if !leads {
                work.doesNotLead(index)
            }
            waits.park(wait, at: index)
        case .ended(let outcome):
            inside.take()?.end()
            work.doesNotLead(index)
            told(index, step.call.end(outcome))
        }
    }
}

/// What the call for one of the keys comes to next.
private struct ManyStep {
    var step: CallStep
    var call: GroupCall
    /// Whether it is the call's first step: else it goes on without the store.
    var isFirst: Bool

    init(_ step: CallStep, _ call: GroupCall, isFirst: Bool = true) {
        self.step = step
        self.call = call
        self.isFirst = isFirst
    }
}

/// The flights that one call for many keys waits for, by the places of the keys in the call.
final class ManyWaits: Sendable {
    struct Waiting: Sendable {
        var wait: CallWait
        var timer: LeaseTimer?
    }

    private struct State {
        var waiting: [Int: Waiting] = [:]
        var isCanceled = false
        var awakened: [(Int, Awakening)] = []
        var reader: Continuation<[(Int, Awakening)]>?
    }

    private let state = Mutex(State())

    var isEmpty: Bool { self.state.withLock { $0.waiting.isEmpty } }

    /// The call waits for this flight.
    func park(_ wait: CallWait, at index: Int) {
        let waiting = Waiting(wait: wait, timer: wait.begin(nil))
        let isCanceled = self.state.withLock { state in
            state.waiting[index] = waiting
            return state.isCanceled
        }
        let waiter = FlightWaiter.handler { self.awaken(index, $0) }
        wait.driver.park(waiter, at: wait.seat, priority: Task.currentPriority)
        if isCanceled { wait.driver.leave(wait.seat, as: .canceled) }
    }

    func remove(_ index: Int) -> Waiting? {
        self.state.withLock { $0.waiting.removeValue(forKey: index) }
    }

    private func awaken(_ index: Int, _ awakening: Awakening) {
        let reader = self.state.withLock { state -> Continuation<[(Int, Awakening)]>? in
            guard let reader = state.reader.take() else {
                state.awakened.append((index, awakening))
                return nil
            }
            return reader
        }
        reader?.resume(returning: [(index, awakening)])
    }

    /// The flights that have ended since the last time, or were left. Waits until there is one.
    func next() async -> [(Int, Awakening)] {
        await withContinuation { continuation in
            let awakened = self.state.withLock { state -> [(Int, Awakening)] in
                guard !state.awakened.isEmpty else {
                    state.reader = continuation
                    return []
                }
                defer { state.awakened = [] }
                return state.awakened
            }
            if !awakened.isEmpty { continuation.resume(returning: awakened) }
        }
    }

    /// The caller's task was canceled: it leaves all flights.
    func cancel() {
        let waits = self.state.withLock { state in
            state.isCanceled = true
            return state.waiting.values.map(\.wait)
        }
        for wait in waits { wait.driver.leave(wait.seat, as: .canceled) }
    }

    /// The caller has become more urgent.
    func raise(to priority: TaskPriority) {
        let waits = self.state.withLock { $0.waiting.values.map(\.wait) }
        for wait in waits { wait.driver.raise(to: priority) }
    }
}
