import Singleflight
import Synchronization

/// One flight's work and its callers in this process: what the flight's driver acts on.
///
///     undecided ──▶ following ──▶ leading ──▶ handedIn ──▶ over
///
/// Each phase can be skipped. Who leads is an operation that was prepared, or a caller that works by hand. Without a
/// driver the flight has no lease: it begins as leading, and what is handed in is its result.
final class LocalFlight: FlightOwner, FlightWork {
    typealias Key = ErasedKey
    typealias Value = ErasedValue

    private enum Phase {
        /// It is not known yet whether this process leads.
        case undecided
        /// Another process leads.
        case following
        /// This process leads: the work goes on.
        case leading(LocalGrant)
        /// The work has ended with this result.
        case handedIn(Result<Value, any Error>)
        /// No result is wanted any more.
        case over
    }

    private struct State {
        var phase = Phase.undecided
        var leader: Leader<Key, LocalResolution<Value>>?
        var driver: FlightDriver?
        var observer: FlightObserver?
        /// Whether the caller that started the flight is to lead by hand.
        var isByHand: Bool
        /// What was handed in by hand before it was known whether this process leads.
        var early: Result<Value, any Error>?
        var hasOperation = false
        var task: Task<Void, Never>?
        /// The operation's task, while it waits for the lease.
        var start: Continuation<LocalGrant?>?
        /// The highest priority of those who wait, if the operation's task does not have it by itself.
        var priority: TaskPriority?

        var decision: LocalDecision?
        var deciding: [@Sendable (LocalDecision) -> Void] = []
        var ended: EndedFlight<Value>?
        var observers: [UInt64: @Sendable (EndedFlight<Value>) -> Void] = [:]
        var nextObserver: UInt64 = 0
        var progress: (serial: UInt64, report: FlightProgress)?
        var feeds: [ObjectIdentifier: ProgressFeed] = [:]

        var loss: OperationLoss?
        var onAbandoned: (@Sendable () -> Void)?
        var onLost: [@Sendable () -> Void] = []

        /// Unlike a comparison with nil, it does not copy the outcome.
        var hasEnded: Bool { if case .some = self.ended { true } else { false } }
    }

    let key: Key
    private let reader: ResolutionReader<Value>
    /// Whether ``offer(_:)`` can be of use.
    private let isStartedByHand: Bool
    private let state: Mutex<State>

    /// - Parameter coordinationWithoutLease: what callers are told of the flight if it has no lease.
    init(
        key: Key,
        coder: PayloadCoder<Value>,
        isByHand: Bool,
        coordinationWithoutLease: Coordination = .degraded
    ) {
        self.key = key
        self.isStartedByHand = isByHand
        self.reader = ResolutionReader(coder: coder, coordinationWithoutLease: coordinationWithoutLease)
        // An operation that is offered later must be as urgent as the caller that began the flight.
        self.state = Mutex(State(isByHand: isByHand, priority: isByHand ? Task.currentPriority : nil))
    }

    /// To be called once, before anything is driven.
    func begin(_ leader: Leader<Key, LocalResolution<Value>>, _ driver: FlightDriver, _ observer: FlightObserver?) {
        let wasOffered = self.state.withLock { state in
            state.leader = leader
            state.driver = driver
            state.observer = observer
            return state.hasOperation && self.isStartedByHand
        }
        if wasOffered {
            driver.allowTakeover()
        }
    }

    /// Begins to lead without a lease; an operation that was prepared runs.
    func beginWithoutLease(_ leader: Leader<Key, LocalResolution<Value>>?) {
        self.state.withLock { $0.leader = leader }
        self.lead(LocalGrant(token: nil, driver: nil))
    }

    // MARK: - The operation

    /// Makes the operation's task. It waits for the lease first: made here, it inherits the task-locals and the priority of the
    /// caller that starts the flight, which the thread that brings the store's reply does not have.
    func prepare(_ operation: @escaping @Sendable (Flight<Key>) async throws -> Value) {
        self.state.withLock { $0.hasOperation = true }
        self.makeTask(operation)
    }

    /// A caller that waits lends its operation: it runs should this process come to lead and nobody lead by hand.
    func offer(_ operation: @escaping @Sendable (Flight<Key>) async throws -> Value) {
        guard self.isStartedByHand else { return }
        let (isTaken, driver) = self.state.withLock { state -> (Bool, FlightDriver?) in
            switch state.phase {
            case .undecided, .following:
                guard !state.hasOperation else { return (false, nil) }
                state.hasOperation = true
                return (true, state.driver)
            case .leading, .handedIn, .over:
                return (false, nil)
            }
        }
        guard isTaken else { return }
        self.makeTask(operation)
        driver?.allowTakeover()
    }

    private func makeTask(_ operation: @escaping @Sendable (Flight<Key>) async throws -> Value) {
        // It starts on the caller's thread and runs to its first suspension: one task less for a thread to take up.
        let task = Self.start {
            guard let grant = await self.granted() else { return }
            let flight = Flight(key: self.key, token: grant.token, driver: grant.driver, owner: self)
            let result: Result<Value, any Error>
            do {
                result = .success(try await self.perform { try await operation(flight) })
            } catch {
                result = .failure(error)
            }
            self.handIn(result)
        }
        let (isOver, priority) = self.state.withLock { state in
            state.task = task
            if case .over = state.phase { return (true, state.priority) }
            return (false, state.priority)
        }
        if isOver {
            task.cancel()
        }
        if let priority {
            Self.escalate(task, to: priority)
        }
    }

    private static func start(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
            Task.immediate(operation: body)
        } else {
            Task(operation: body)
        }
    }

    /// Waits until it is known whether the operation is to run.
    private func granted() async -> LocalGrant? {
        await withContinuation { continuation in
            let decided: LocalGrant?? = self.state.withLock { state in
                switch state.phase {
                case .undecided, .following:
                    state.start = continuation
                    return .none
                case .leading(let grant):
                    return .some(state.isByHand ? nil : grant)
                case .handedIn, .over:
                    return .some(nil)
                }
            }
            if let decided {
                continuation.resume(returning: decided)
            }
        }
    }

    /// Runs work on behalf of the flight: asking for its key inside is refused.
    func perform<T: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ work: () async throws -> T
    ) async rethrows -> T {
        guard let leader = self.state.withLock({ $0.leader }) else { return try await work() }
        return try await leader.perform(isolation: isolation, work)
    }

    /// Hands in the work's result. Returns whether it was wanted.
    @discardableResult
    func handIn(_ result: Result<Value, any Error>) -> Bool {
        let grant = self.state.withLock { state -> LocalGrant? in
            if case .leading(let grant) = state.phase { grant } else { nil }
        }
        guard let grant else { return false }
        guard let driver = grant.driver else {
            guard self.take(result) else { return false }
            self.endWithoutLease(with: .finished(self.reader.finished(result, token: nil)))
            return true
        }
        // Outside of the lock: it is the user's code, and can be long.
        let encoded = self.reader.coder.encode(result, trace: self.state.withLock { $0.observer }?.trace)
        guard self.take(encoded.local) else { return false }
        driver.operationFinished(encoded.outcome)
        return true
    }

    /// An operation that runs without a lease has had its time: it is canceled, and everybody gets the error.
    func takesTooLong() {
        let failure = Result<Value, any Error>.failure(DistributedGroupError.flightTooLong)
        let (isRunning, task) = self.state.withLock { state -> (Bool, Task<Void, Never>?) in
            guard case .leading = state.phase else { return (false, nil) }
            state.phase = .handedIn(failure)
            return (true, state.task.take())
        }
        guard isRunning else { return }
        task?.cancel()
        self.endWithoutLease(with: .finished(self.reader.finished(failure, token: nil)))
    }

    private func take(_ result: Result<Value, any Error>) -> Bool {
        self.state.withLock { state in
            guard case .leading = state.phase else { return false }
            state.phase = .handedIn(result)
            return true
        }
    }

    // MARK: - Leading by hand

    /// Hands in a result as soon as this process leads, if it ever does.
    func handInOnceLeading(_ result: Result<Value, any Error>) {
        let leads = self.state.withLock { state in
            switch state.phase {
            case .undecided, .following:
                state.early = result
                return false
            case .leading:
                return true
            case .handedIn, .over:
                return false
            }
        }
        if leads {
            self.handIn(result)
        }
    }

    /// Whoever leads by hand, or was to, goes away; with a reason, the flight ends for everybody. Returns whether that ended
    /// the leading.
    @discardableResult
    func leaderLeaves(reason: String? = nil) -> Bool {
        let grant = self.state.withLock { state -> LocalGrant? in
            guard state.isByHand else { return nil }
            switch state.phase {
            case .undecided, .following:
                state.isByHand = false
                return nil
            case .leading(let grant):
                state.phase = .over
                return grant
            case .handedIn, .over:
                return nil
            }
        }
        guard let grant else { return false }
        if let driver = grant.driver {
            driver.leaderLeaves(reason: reason)
        } else {
            let end = reason.map { DistributedCancellation.revoked(by: self.reader.coder.label, reason: $0) }
            self.endWithoutLease(with: .canceled(end ?? .leaderLeft))
        }
        return true
    }

    /// Calls `handler` when nobody waits any more, here or elsewhere. Only the first is kept.
    func onAbandoned(_ handler: @escaping @Sendable () -> Void) {
        self.state.withLock { state in
            if state.onAbandoned == nil { state.onAbandoned = handler }
        }
    }

    /// Calls `handler` when the lease is lost before a result was handed in; at once if it is lost already.
    func onLost(_ handler: @escaping @Sendable () -> Void) {
        let isLost = self.state.withLock { state in
            if let loss = state.loss { return loss != .abandoned }
            state.onLost.append(handler)
            return false
        }
        if isLost {
            handler()
        }
    }

    /// Whether the work's result is still wanted, as far as this process knows.
    var isLeading: Bool {
        self.state.withLock { if case .leading = $0.phase { true } else { false } }
    }

    /// The flight as its leader sees it; nil if this process does not lead, or does no longer.
    var flight: Flight<Key>? {
        let grant = self.state.withLock { state -> LocalGrant? in
            if case .leading(let grant) = state.phase { grant } else { nil }
        }
        return grant.map { Flight(key: self.key, token: $0.token, driver: $0.driver, owner: self) }
    }

    // MARK: - FlightWork

    /// The last local caller left.
    func abandon() {
        let (driver, hasLease) = self.state.withLock { state in
            if case .leading(let grant) = state.phase, grant.driver == nil { return (state.driver, false) }
            return (state.driver, true)
        }
        guard hasLease else {
            self.cancelOperation(.abandoned)
            return self.finish()
        }
        driver?.abandon()
    }

    func raise(to priority: TaskPriority) {
        let task = self.state.withLock { state in
            state.priority = max(state.priority ?? priority, priority)
            return state.task
        }
        if let task {
            Self.escalate(task, to: priority)
        }
    }

    private static func escalate(_ task: Task<Void, Never>, to priority: TaskPriority) {
        if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
            task.escalatePriority(to: priority)
        }
    }

    // MARK: - FlightOwner

    func startOperation(token: LeaseToken, driver: FlightDriver) {
        self.lead(LocalGrant(token: token, driver: driver))
    }

    private func lead(_ grant: LocalGrant) {
        let (step, early) = self.state.withLock { state -> (LeadStep, Result<Value, any Error>?) in
            switch state.phase {
            case .undecided, .following:
                state.phase = .leading(grant)
                // Nobody is there to do the work: its caller went away while the store was asked.
                guard state.isByHand || state.hasOperation else { return (.giveUp, nil) }
                return (.begin(state.start.take(), state.isByHand ? nil : grant), state.early.take())
            case .leading, .handedIn, .over:
                return (.none, nil)
            }
        }
        switch step {
        case .none:
            break
        case .begin(let continuation, let grant):
            continuation?.resume(returning: grant)
            self.decide(.leads)
            if let early {
                self.handIn(early)
            }
        case .giveUp:
            if let driver = grant.driver {
                driver.leaderLeaves(reason: nil)
            } else {
                self.endWithoutLease(with: .canceled(.leaderLeft))
            }
        }
    }

    func followsElsewhere() {
        self.state.withLock { state in
            guard case .undecided = state.phase else { return }
            state.phase = .following
            // Whoever wanted to lead by hand waits now, and does not know how to take over.
            state.isByHand = false
        }
        self.decide(.follows)
    }

    func cancelOperation(_ loss: OperationLoss) {
        let (isWanted, onAbandoned, onLost) = self.state.withLock { state in
            state.loss = state.loss ?? loss
            let isWanted = if case .leading = state.phase { true } else { false }
            defer { state.onLost = [] }
            return (isWanted, state.onAbandoned.take(), state.onLost)
        }
        self.endOperation()
        guard isWanted else { return }
        for handler in loss == .abandoned ? onAbandoned.map({ [$0] }) ?? [] : onLost {
            handler()
        }
    }

    func resolve(_ resolution: FlightResolution) {
        let (observer, handedIn) = self.state.withLock { state -> (FlightObserver?, Result<Value, any Error>?) in
            if case .handedIn(let result) = state.phase { (state.observer, result) } else { (state.observer, nil) }
        }
        let learnedAt = observer?.now
        var local = self.reader.local(resolution, handedIn: handedIn)
        if let observer, case .finished(var finished) = local {
            finished.learnedAt = learnedAt
            if case .thisProcess = finished.source { finished.trace = observer.trace }
            local = .finished(finished)
        }
        self.end(with: local)
    }

    func finish() {
        self.endOperation()
        // The driver refers to this flight, and handlers may. They are let go of outside of the lock.
        let (loss, _, _, _) = self.state.withLock { state in
            defer { state.onLost = [] }
            return (state.loss, state.driver.take(), state.onAbandoned.take(), state.onLost)
        }
        let reason: DistributedCancellation =
            switch loss {
            case .leaseLost: .leaseLost
            case .shutDown: .leaderShutDown
            case .abandoned, .tooLong, nil: .abandoned
            }
        self.end(with: .canceled(reason))
    }

    func progressed(_ progress: FlightProgress) {
        let (serial, feeds) = self.state.withLock { state -> (UInt64, [ProgressFeed]) in
            // The same can come twice, as an announcement and from the lease's record.
            guard state.progress?.report != progress else { return (0, []) }
            let serial = (state.progress?.serial ?? 0) + 1
            state.progress = (serial, progress)
            return (serial, Array(state.feeds.values))
        }
        for feed in feeds {
            feed.offer(progress, serial: serial)
        }
    }

    var readsProgress: Bool {
        self.state.withLock { !$0.feeds.isEmpty }
    }

    // MARK: - Ending

    private func endWithoutLease(with local: LocalResolution<Value>) {
        self.end(with: local)
        self.finish()
    }

    private func end(with local: LocalResolution<Value>) {
        let leader = self.state.withLock { $0.hasEnded ? nil : $0.leader }
        self.endOperation()
        // Only who leads by hand can subscribe after the end.
        let isShared =
            self.isStartedByHand ? leader?.publish(.success(local)) : leader?.publishAndLeave(.success(local))
        let ended = EndedFlight(resolution: local, isShared: isShared ?? false)
        let (observers, feeds) = self.state.withLock { state in
            guard !state.hasEnded else { return ([@Sendable (EndedFlight<Value>) -> Void](), [ProgressFeed]()) }
            state.ended = ended
            defer {
                state.observers = [:]
                state.feeds = [:]
            }
            return (Array(state.observers.values), Array(state.feeds.values))
        }
        if case .finished(let flight) = local, flight.source == .reused {
            self.decide(.reuses)
        } else {
            self.decide(.over(local.unavailable))
        }
        for feed in feeds {
            feed.finish()
        }
        for observer in observers {
            observer(ended)
        }
    }

    private func endOperation() {
        let (task, continuation) = self.state.withLock { state in
            let phase = state.phase
            state.phase = .over
            if case .handedIn = phase { return (Task<Void, Never>?.none, state.start.take()) }
            return (state.task.take(), state.start.take())
        }
        task?.cancel()
        continuation?.resume(returning: nil)
    }

    // MARK: - Callers

    /// A place for the leader itself; nil for a flight that nobody can join.
    func subscribe() -> Subscriber<Key, LocalResolution<Value>>? {
        self.state.withLock { $0.leader }?.subscribe()
    }

    var subscriberCount: Int {
        self.state.withLock { $0.leader }?.subscriberCount ?? 0
    }

    private func decide(_ decision: LocalDecision) {
        let deciding = self.state.withLock { state in
            guard state.decision == nil else { return [@Sendable (LocalDecision) -> Void]() }
            state.decision = decision
            defer { state.deciding = [] }
            return state.deciding
        }
        for handler in deciding {
            handler(decision)
        }
    }

    /// Calls `handler` once it is known who leads; at once if it is known already.
    func onDecision(_ handler: @escaping @Sendable (LocalDecision) -> Void) {
        let decision = self.state.withLock { state in
            if state.decision == nil { state.deciding.append(handler) }
            return state.decision
        }
        if let decision {
            handler(decision)
        }
    }

    /// Who leads, as soon as it is known; nil if the task is canceled before.
    func decision() async -> LocalDecision? {
        if let decision = self.state.withLock({ $0.decision }) { return decision }
        let shared = SharedValue<LocalDecision>()
        self.onDecision { shared.set($0) }
        return await shared.value()
    }

    /// Calls `observer` once the flight has ended; at once, and without an identity to forget it by, if it has already.
    func onEnd(_ observer: @escaping @Sendable (EndedFlight<Value>) -> Void) -> UInt64? {
        let (id, ended) = self.state.withLock { state -> (UInt64?, EndedFlight<Value>?) in
            if let ended = state.ended { return (nil, ended) }
            state.nextObserver += 1
            state.observers[state.nextObserver] = observer
            return (state.nextObserver, nil)
        }
        if let ended {
            observer(ended)
        }
        return id
    }

    func forgetObserver(_ id: UInt64) {
        // Handed out: what it holds must not be let go of under the lock.
        _ = self.state.withLock { $0.observers.removeValue(forKey: id) }
    }
}

/// What a grant makes a flight do.
private enum LeadStep {
    /// Nothing: the flight is past that.
    case none
    /// Begin to work. The operation's task, if it waits, is resumed, with the grant unless somebody works by hand.
    case begin(Continuation<LocalGrant?>?, LocalGrant?)
    /// Hand the grant back: there is nobody to do the work.
    case giveUp
}

extension LocalFlight: ProgressSource {
    func attach(_ feed: ProgressFeed) {
        let (progress, isOver, driver) = self.state.withLock { state in
            guard !state.hasEnded else { return (state.progress, true, FlightDriver?.none) }
            state.feeds[ObjectIdentifier(feed)] = feed
            // What was said before this process began to wait is in the lease's record only.
            if case .following = state.phase, state.progress == nil { return (nil, false, state.driver) }
            return (state.progress, false, nil)
        }
        if let progress {
            feed.offer(progress.report, serial: progress.serial)
        }
        if isOver {
            feed.finish()
        }
        driver?.readProgress()
    }

    func detach(_ feed: ProgressFeed) {
        _ = self.state.withLock { $0.feeds.removeValue(forKey: ObjectIdentifier(feed)) }
    }
}

extension DistributedGroupError {
    /// What everybody gets when an operation ran longer than a flight may.
    static var flightTooLong: DistributedGroupError {
        DistributedGroupError(.flightTooLong, "the operation ran longer than the group's maximumFlight")
    }
}
