import Singleflight
import Synchronization

/// The work of one call for many keys: runs of its operation, each for the keys that the call has come to lead.
///
/// Each key's flight has a part of the work (``WorkPart``), which it begins, cancels and raises as any operation. A run
/// is canceled when none of its keys' results is wanted any more.
///
/// The runs inherit the task-locals and the priority of the call, which the thread that brings the store's reply does
/// not have: a task that the call makes waits for them, as long as any part of the work may yet begin.
final class ManyWork: Sendable {
    /// - Returns: the values by the places of their keys in the call.
    typealias Operation = @Sendable @concurrent (LedFlights) async throws -> [Int: ErasedValue]

    private struct Run {
        /// How many of its parts' results are still wanted.
        var wanted: Int
        var task: Task<Void, Never>?
    }

    private enum Place {
        /// The flight has not come to lead, or its run has not begun.
        case waiting
        case running(run: Int)
        case over
    }

    private struct State {
        var gathering: Gathering
        /// Ends the gathering.
        var timer: LeaseTimer?
        var parts: [Int: Place] = [:]
        var nextPart = 0
        /// The parts by which the call leads keys that no run has been given yet.
        var leading: [Int: WorkPart] = [:]
        var runs: [Int: Run] = [:]
        var nextRun = 0
        /// The runs that are to begin.
        var pending: [[WorkPart]] = []
        var starter: Continuation<[WorkPart]?>?
        /// No part is left that may begin.
        var isFinished = false
        var priority: TaskPriority?
    }

    /// The time for which keys are gathered that the call comes to lead later.
    private static var gatheringTime: Duration { .milliseconds(10) }

    private let operation: Operation
    private let clock: any LeaseClock
    private let state: Mutex<State>

    init(count: Int, clock: any LeaseClock, _ operation: @escaping Operation) {
        self.operation = operation
        self.clock = clock
        self.state = Mutex(State(gathering: Gathering(count: count)))
    }

    /// Begins to wait for runs. To be called once, in the call's own task.
    ///
    /// - Parameter limit: how long keys that the call leads wait until it is known of the others who leads them.
    func start(waitingAtMost limit: Duration) {
        Task {
            while let parts = await self.partsOfNextRun() {
                self.begin(parts)
            }
        }
        self.gather(for: limit)
    }

    private func gather(for time: Duration) {
        let timer = self.clock.schedule(at: self.clock.now.advanced(by: time)) { [weak self] in
            self?.step { $0.timeIsUp() }
        }
        let isObsolete = self.state.withLock { state in
            if state.gathering.isGathering { state.timer = timer }
            return !state.gathering.isGathering
        }
        if isObsolete { self.clock.cancel(timer) }
    }

    /// No more parts will begin.
    func finish() {
        let starter = self.state.withLock { state in
            state.isFinished = true
            return state.starter.take()
        }
        starter?.resume(returning: nil)
    }

    /// The call does not lead the key at this place, as far as is known.
    func doesNotLead(_ index: Int) {
        self.step { $0.doesNotLead(index) }
    }

    // MARK: - Parts

    func numberOfNextPart() -> Int {
        self.state.withLock { state in
            state.nextPart += 1
            state.parts[state.nextPart] = .waiting
            return state.nextPart
        }
    }

    func begin(_ part: WorkPart) {
        self.step(part) { $0.leads(part.index) }
    }

    private struct Consequence {
        var gathers = false
        var obsolete: LeaseTimer?
        var starter: Continuation<[WorkPart]?>?
        var parts: [WorkPart] = []
    }

    private func step(_ part: WorkPart? = nil, _ step: (inout Gathering) -> Gathering.Step) {
        let consequence = self.state.withLock { state -> Consequence in
            var consequence = Consequence()
            if let part { state.leading[part.index] = part }
            switch step(&state.gathering) {
            case .none:
                break
            case .gather:
                consequence.gathers = true
            case .run(let indices):
                consequence.parts = indices.compactMap { state.leading.removeValue(forKey: $0) }
                consequence.starter = state.starter.take()
                if consequence.starter == nil { state.pending.append(consequence.parts) }
            }
            if !state.gathering.isGathering { consequence.obsolete = state.timer.take() }
            return consequence
        }
        if let timer = consequence.obsolete { self.clock.cancel(timer) }
        if consequence.gathers { self.gather(for: Self.gatheringTime) }
        consequence.starter?.resume(returning: consequence.parts)
    }

    /// The part's result is not wanted any more, or has been handed in.
    func end(_ part: WorkPart) {
        let task = self.state.withLock { state -> Task<Void, Never>? in
            defer { state.parts[part.number] = .over }
            guard case .running(let run) = state.parts[part.number] else { return nil }
            state.runs[run]?.wanted -= 1
            guard state.runs[run]?.wanted == 0 else { return nil }
            return state.runs[run]?.task
        }
        task?.cancel()
    }

    func raise(to priority: TaskPriority) {
        let tasks = self.state.withLock { state in
            state.priority = max(priority, state.priority ?? priority)
            return state.runs.values.compactMap(\.task)
        }
        for task in tasks { Self.escalate(task, to: priority) }
    }

    private static func escalate(_ task: Task<Void, Never>, to priority: TaskPriority) {
        if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
            task.escalatePriority(to: priority)
        }
    }

    // MARK: - Runs

    private func partsOfNextRun() async -> [WorkPart]? {
        await withContinuation { continuation in
            let answer = self.state.withLock { state -> [WorkPart]?? in
                if !state.pending.isEmpty { return .some(state.pending.removeFirst()) }
                if state.isFinished { return .some(nil) }
                state.starter = continuation
                return .none
            }
            if let answer { continuation.resume(returning: answer) }
        }
    }

    private func begin(_ parts: [WorkPart]) {
        let (number, wanted) = self.state.withLock { state -> (Int, [WorkPart]) in
            let wanted = parts.filter { part in
                if case .waiting = state.parts[part.number] { true } else { false }
            }
            state.nextRun += 1
            for part in wanted { state.parts[part.number] = .running(run: state.nextRun) }
            state.runs[state.nextRun] = Run(wanted: wanted.count)
            return (state.nextRun, wanted)
        }
        let task = Task {
            if !wanted.isEmpty { await self.run(wanted) }
            _ = self.state.withLock { $0.runs.removeValue(forKey: number) }
        }
        let (isUnwanted, priority) = self.state.withLock { state in
            state.runs[number]?.task = task
            return (state.runs[number]?.wanted == 0, state.priority)
        }
        if isUnwanted { task.cancel() }
        if let priority, priority > Task.currentPriority { Self.escalate(task, to: priority) }
    }

    private func run(_ parts: [WorkPart]) async {
        let values: Result<[Int: ErasedValue], any Error>
        do {
            // Asking for any of the keys inside is refused.
            let path = parts.reduce(FlightPath.current) { $1.path(inside: $0) }
            let led = LedFlights(parts)
            values = .success(try await FlightPath.local.withValue(path) { try await self.operation(led) })
        } catch {
            values = .failure(error)
        }
        for part in parts {
            await part.handIn(
                values.flatMap { values in
                    values[part.index].map { .success($0) } ?? .failure(MissingResult(key: part.driver.key.text))
                }
            )
        }
    }
}

/// The part that one key has in the work of a call for many.
final class WorkPart: FlightOperation {
    /// The key's place in the call.
    let index: Int
    let driver: FlightDriver
    /// What an observing group takes the key's call for.
    private let observed: ObservedCall?
    let number: Int
    private let work: ManyWork
    /// The work is waited for as long as a part of it is there.
    private let presence: WorkPresence
    private let hasResult = Atomic(false)

    init(_ index: Int, _ driver: FlightDriver, _ observed: ObservedCall?, _ presence: WorkPresence) {
        self.index = index
        self.driver = driver
        self.observed = observed
        self.presence = presence
        self.work = presence.work
        self.number = presence.work.numberOfNextPart()
    }

    /// The path of code that runs on behalf of the key's flight, and of others.
    func path(inside outer: FlightPath) -> FlightPath {
        let path = self.driver.path(inside: outer)
        return self.observed?.path(inside: path) ?? path
    }

    func begin(token: LeaseToken?) {
        self.work.begin(self)
    }

    func cancel() {
        self.work.end(self)
    }

    func raise(to priority: TaskPriority) {
        self.work.raise(to: priority)
    }

    /// Hands in what the run came to, unless the key has a result.
    func handIn(_ result: Result<ErasedValue, any Error>) async {
        guard self.isFirstResult() else { return }
        await self.driver.handIn(fromTask: result)
        self.work.end(self)
    }

    /// Hands in the result before the run's end, and does not wait for a codec that is slow. Returns whether it was
    /// wanted.
    func handInEarly(_ result: Result<ErasedValue, any Error>) -> Bool {
        guard self.driver.isWorking, self.isFirstResult() else { return false }
        let handIn: @Sendable () -> Void = {
            self.driver.handIn(result)
            self.work.end(self)
        }
        if self.driver.handsInAtOnce(result) {
            handIn()
        } else {
            self.driver.context.runtime.offload(handIn)
        }
        return true
    }

    private func isFirstResult() -> Bool {
        self.hasResult.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged
    }
}

/// Ends the waiting for a call's work when the call and all parts of it are gone.
final class WorkPresence: Sendable {
    let work: ManyWork

    init(_ work: ManyWork) {
        self.work = work
    }

    deinit {
        self.work.finish()
    }
}

/// The flights that one run of a call for many keys leads.
struct LedFlights: Sendable {
    private let parts: [WorkPart]

    init(_ parts: [WorkPart]) {
        self.parts = parts
    }

    /// The places of their keys in the call, in order.
    var indices: [Int] { self.parts.map(\.index) }

    /// The flight of the key that is the `number`th of these.
    func flight<Key>(_ number: Int, key: Key) -> Flight<Key> {
        Flight(key: key, driver: self.parts[number].driver)
    }

    func handInEarly(_ result: Result<ErasedValue, any Error>, of number: Int) -> Bool {
        self.parts[number].handInEarly(result)
    }
}
