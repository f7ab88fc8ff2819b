import Singleflight
import SingleflightLease

/// One flight of one process: who waits for it, who works for it, and what is promised of both.
///
/// `@unchecked`, as ``SimulationBound``.
final class SimulatedFlight: FlightObserving, @unchecked Sendable {
    /// What foreign code and new tasks may take to begin, at most.
    static let patience = Duration.milliseconds(5)

    unowned let process: SimulatedProcess
    let key: Int
    let isAlone: Bool
    let isObserved: Bool
    /// Whether this process never leads it.
    let isFollowing: Bool
    /// Whether it renews a kept result, and nobody waits for it.
    let isRefresh: Bool
    /// How the result stood that its callers reuse.
    private(set) var freshness: Freshness?
    var driver: FlightDriver?
    /// The lease that this process was granted.
    private(set) var token: LeaseToken?
    /// Whether no caller is to join any more: the flight has ended, or nobody waits for it.
    private(set) var isOver = false
    private(set) var isAbandoned = false
    private(set) var isFinished = false
    private(set) var end: FlightEnd?
    /// Places of callers and handles that are taken; those of joining callers among them.
    private(set) var seated: Int
    private(set) var joined = 0
    /// The first result that was wanted.
    private(set) var result: Result<ErasedValue, any Error>?
    private(set) var leader: SimulatedLeader?
    /// The runs whose reports callers may hear of, in order.
    private(set) var runs: [String] = []
    private let watch: FlightWatch?
    private var regaining = RegainingWatch()
    private var operations: [SimulatedOperation] = []
    private var hasWorked = false
    private var callers: [SimulatedCaller] = []
    private var cancellations = 0
    private var reports = 0
    private var sharedAnswers = 0
    private var hasUnsharedAnswer = false

    init(_ process: SimulatedProcess, key: Int, _ kind: FlightDriver.Kind) {
        self.process = process
        self.key = key
        if case .following = kind { self.isFollowing = true } else { self.isFollowing = false }
        if case .leased(_, .some) = kind { self.isRefresh = true } else { self.isRefresh = false }
        // The process itself has the only place of a refresh.
        self.seated = self.isRefresh ? 1 : 0
        switch kind {
        case .leased, .following: (self.isAlone, self.isObserved) = (false, false)
        case .alone(_, let coordination): (self.isAlone, self.isObserved) = (true, coordination == .observed)
        }
        self.watch = self.isAlone ? nil : FlightWatch(process: process)
    }

    var monitor: SimulationMonitor { self.process.simulation.monitor }
    private var simulation: SimulationRun { self.process.simulation }
    private var scheduler: SimulatedScheduler { self.process.simulation.scheduler }
    private var now: LeaseInstant { self.scheduler.now }

    var isOperating: Bool { self.operations.contains { $0.progress == .running } }

    /// Lets go of everything, without a word.
    func drop() {
        self.isFinished = true
        self.driver = nil
        self.callers = []
        self.operations = []
        self.leader = nil
    }

    /// Once what follows in this instant, and what foreign code takes, is over; unless the process stands still, or
    /// did.
    private func soon(_ check: @escaping () -> Void) {
        let asked = self.now
        self.scheduler.schedule(after: Self.patience) { [self] in
            let machine = self.process.machine
            guard machine.isAlive, !machine.isPaused, machine.disturbedUntil < asked else { return }
            check()
        }
    }

    // MARK: - Callers

    /// I19: a flight's callers are all who joined it while it was open.
    func seat(_ caller: SimulatedCaller?, isStarter: Bool, isHandle: Bool = false) {
        if let caller { self.callers.append(caller) }
        self.seated += 1
        guard !isStarter, !isHandle else { return }
        self.joined += 1
        if self.isOver { self.monitor.violate("I19", "a caller joined a flight that was over") }
        if let limit = self.process.maximumWaiters, self.joined > limit {
            self.monitor.violate("I20", "\(self.joined) callers joined where \(limit) may")
        }
    }

    /// How many wait; without those whose time is up, and who will find out when they begin to wait.
    var present: Int { self.seated - self.callers.count { $0.isLate(for: self) } }

    /// Somebody gets up; before the driver hears of it.
    func vacate(isJoined: Bool) {
        self.seated -= 1
        if isJoined { self.joined -= 1 }
    }

    /// I18: who leaves ends nothing for those who stay, and the last ends the flight in this process.
    func checkSeats() {
        guard let driver, !self.isOver, self.process.machine.isAlive else { return }
        if self.present == 0 {
            self.monitor.violate("I18", "nobody waits for a flight, and it goes on in this process")
        }
        if driver.callerCount != self.present {
            self.monitor.violate("I18", "\(driver.callerCount) are taken to wait where \(self.present) do")
        }
    }

    /// I24: work is as urgent as the most urgent of those who wait for it.
    func checkPriority(_ priority: TaskPriority) {
        guard !self.isOver, let operation = self.operations.last(where: { $0.progress == .running }) else { return }
        if operation.priority < priority {
            self.monitor.violate("I24", "an operation is less urgent than a caller that waits for it")
        }
    }

    // MARK: - Work

    func operation() -> SimulatedOperation {
        let operation = SimulatedOperation(self)
        self.operations.append(operation)
        return operation
    }

    /// I11, I12: one operation runs at most, under a lease that this process holds, or in a flight that needs none.
    func operationStarts(_ operation: SimulatedOperation, _ token: LeaseToken?) {
        guard self.process.machine.isAlive else { return }
        if (token == nil) != self.isAlone { self.monitor.violate("I12", "an operation runs without a lease") }
        // A task that is canceled before it begins finds out when it does.
        if self.hasWorked || (self.isFinished && operation.progress == .running) {
            self.monitor.violate("I11", "a flight's operation started twice, or after its end")
        }
        self.hasWorked = true
        self.simulation.operations += 1
        self.scheduler.note("process \(self.process.index) runs the operation of \(token?.short ?? "no lease")")
        if let token { self.monitor.operationStarted(token, inbox: self.process.store.inbox) }
        if token == nil { self.runs.append(self.simulation.nextRun()) }
        guard operation.progress == .running else { return }
        self.simulation.run(self, operation, run: self.runs.last ?? "")
    }

    /// I21: one caller leads by hand at most.
    func leads(_ leader: SimulatedLeader, _ driver: FlightDriver) {
        if self.leader != nil { self.monitor.violate("I21", "two callers lead one flight by hand") }
        self.leader = leader
        guard driver.isWorking else { return }
        if self.hasWorked { self.monitor.violate("I11", "a flight has an operation and a leader by hand") }
        self.hasWorked = true
        if let token { self.monitor.operationStarted(token, inbox: self.process.store.inbox) }
        if self.token == nil { self.runs.append(self.simulation.nextRun()) }
    }

    /// Notes the first result that is wanted. I21: the driver says so of no other.
    func handIn(_ result: Result<ErasedValue, any Error>, _ handIn: (FlightDriver) -> Bool) {
        guard let driver else { return }
        let isWanted = driver.isWorking && self.result == nil
        if isWanted { self.result = result }
        if handIn(driver) != isWanted {
            self.monitor.violate("I21", "told that a result \(isWanted ? "was not" : "was") wanted, which is wrong")
        }
    }

    func handIn(fromTask result: Result<ErasedValue, any Error>) {
        guard let driver else { return }
        guard !driver.handsInAtOnce(result) else {
            return self.handIn(result) { $0.handIn(result) }
        }
        self.process.offload { self.handIn(result) { $0.handIn(result) } }
    }

    /// I23: what is reported here is told here, at once.
    func report(run: String) {
        guard let driver, driver.isWorking else { return }
        self.reports += 1
        driver.report(FlightProgress(message: "\(run) \(self.reports)"))
        for caller in self.callers { caller.read(expecting: self.isOver ? nil : self.reports) }
    }

    // MARK: - FlightObserving

    var trace: TraceContext? { nil }

    func saw(_ step: ObservedStep) {
        guard self.process.machine.isAlive else { return }
        self.watch?.saw(step.event)
        if self.token != nil {
            self.regaining.saw(step.event)
            if case .replied(.failure, .enter) = step.event { self.checkItAsksAgain() }
        }
        switch step.event {
        case .replied(.success(.renew(.lost)), .renew(let token, _, _)),
            .replied(.success(.renew(.expired)), .renew(let token, _, _)):
            // After what follows from it is done, in the same instant.
            self.scheduler.schedule(after: .zero) { [process] in process.checkLoss(of: token) }
        case .replied(.success(.enter(.follow(let token, _))), _):
            self.runs.append(token.description)
            self.soon { self.checkUnwantedWork() }
        case .replied(.success(.poll(.superseded(let token))), _):
            self.runs.append(token.description)
        case .replied(.success(.inspect(let inspection)), .look):
            if let lease = inspection.lease { self.runs.append(lease.token.description) }
        case .replied(.success(.enter(.reuse(_, .value, let freshness))), _):
            self.freshness = freshness
        case .abandoned:
            self.isOver = true
            self.isAbandoned = true
            self.watch?.isAbandoned = true
            if self.present > 0 { self.monitor.violate("I18", "a flight was abandoned for which \(self.present) wait") }
        default: break
        }
        for action in step.actions {
            switch action {
            case .send(let request):
                self.watch?.sends(request)
                if self.token != nil { self.regaining.sends(request) }
            case .startOperation(let token): self.starts(token)
            case .moveOperation(let token): self.leadsAgain(token)
            case .cancelOperation(let loss): self.canceled(because: loss)
            case .tell(let end): self.told(end)
            case .finish: self.finished()
            case .wake: break
            }
        }
        if self.isRefresh { self.checkRefresh(after: step.event) }
        if case .replied(.success(.poll(.expired)), _) = step.event { self.watch?.leftToOthers() }
        if case .heard(.announced) = step.event {
            // After what follows from it is done, in the same instant.
            self.scheduler.schedule(after: .zero) { for caller in self.callers { caller.read(expecting: nil) } }
        }
    }

    /// I30: a refresh waits for nobody, and no result that is about to end keeps it from its work.
    private func checkRefresh(after event: FlightEvent) {
        switch event {
        case .replied(.success(.enter(.follow)), _) where self.end == nil && self.token == nil:
            self.monitor.violate("I30", "a refresh waits for another leader")
        case .replied(.success(.enter(.reuse(_, _, let freshness?))), _)
        where freshness.left < self.simulation.plan.refreshWindow:
            self.monitor.violate("I30", "a refresh was given the result that it was to renew")
        default:
            break
        }
    }

    /// I12: work whose lease is gone is soon under another one, or has ended.
    private func checkItAsksAgain() {
        let (sendings, lost) = (self.regaining.sendings, self.token)
        self.scheduler.schedule(after: self.simulation.plan.commandTimeout * 2) { [self] in
            let machine = self.process.machine
            guard machine.isAlive, !machine.isPaused else { return }
            guard !self.isOver, self.driver?.isWorking ?? false, self.token == lost else { return }
            if self.regaining.sendings == sendings {
                self.monitor.violate("I12", "an operation goes on without a lease, and nobody asks for another one")
            }
        }
    }

    /// I12: work whose lease is gone does not go on beside the work of another leader.
    private func checkUnwantedWork() {
        guard let driver, !driver.isWorking, !self.isOver else { return }
        if self.operations.contains(where: { $0.progress == .running }) {
            self.monitor.violate("I12", "an operation goes on whose result nobody wants")
        }
    }

    /// I14: somebody works under a lease that is held.
    private func starts(_ token: LeaseToken?) {
        self.token = token
        if let token { self.runs.append(token.description) }
        if self.isRefresh, let token { self.monitor.refreshes.insert(token) }
        self.soon {
            if !self.hasWorked, !self.isOver {
                self.monitor.violate("I14", "process \(self.process.index) leads, and nobody works")
            }
        }
    }

    /// I12: the work goes on under another lease that is held.
    private func leadsAgain(_ token: LeaseToken) {
        if let lost = self.token {
            self.monitor.operationMoved(from: lost, to: token, inbox: self.process.store.inbox)
        }
        self.token = token
    }

    private func canceled(because loss: OperationLoss) {
        self.cancellations += 1
        if self.cancellations > 1 || self.isFinished {
            self.monitor.violate("I11", "an operation was canceled twice, or after its flight's end")
        }
        if let leader, self.result == nil {
            self.soon { leader.check(loss) }
        }
    }

    private func told(_ end: FlightEnd) {
        self.scheduler.note("process \(self.process.index) tells its callers: \(end.summary)")
        if self.end != nil || self.isFinished {
            self.monitor.violate("I11", "a flight's callers were told twice, or after its end")
        }
        if self.isAbandoned {
            switch end {
            case .led, .tooLong: break
            default: self.monitor.violate("I11", "a flight that nobody waits for told its end: \(end.summary)")
            }
        }
        self.end = end
        self.isOver = true
        self.watch?.told()
        if case .followed(_, let outcome, _, _) = end { self.process.learned(outcome) }
        self.check(end)
        self.soon { self.checkCallers() }
    }

    private func finished() {
        if self.isFinished { self.monitor.violate("I11", "a flight ended twice") }
        if let owed = self.regaining.owed {
            self.monitor.violate("I14", "a flight ended, and gives nothing back of what \(owed.short) may be granted")
        }
        self.isFinished = true
        self.isOver = true
        // After what follows from it is done, in the same instant.
        self.scheduler.schedule(after: .zero) {
            if self.process.machine.isAlive { self.watch?.ended() }
            self.process.finished(self)
        }
        let work = self.operations
        self.scheduler.schedule(after: Self.patience * 2) { self.drop() }
        self.soon {
            self.checkCallers()
            if work.contains(where: { $0.progress == .waiting || $0.progress == .running }) {
                self.monitor.violate("I11", "a flight ended, and its operation was left waiting, or running")
            }
        }
    }

    /// I11: a flight that has ended leaves no caller hanging.
    private func checkCallers() {
        if self.callers.contains(where: { $0.waits(for: self) }) {
            self.monitor.violate("I11", "a flight ended and left its callers hanging")
        }
    }

    /// I5, I6, I7: what callers are told is what the store knows.
    private func check(_ end: FlightEnd) {
        switch end {
        case .led(let token, .accepted, _):
            if self.monitor.record(of: token)?.isAccepted != true {
                self.monitor.violate("I6", "told that its result stands, which the store did not accept")
            }
        case .leaseLost(let token, _):
            // Suspended where data was lost: a failover may have taken back what was accepted.
            if self.monitor.record(of: token)?.isAccepted == true, !self.monitor.isDataLost {
                self.monitor.violate("I6", "told that its result is refused, which the store accepted")
            }
            if self.simulation.isCalm, !self.monitor.wasRevoked(token) {
                self.monitor.violate("I7", "told that the lease of \(token.short) is lost, which it was not")
            }
        case .followed(let token, let outcome, _, _):
            self.monitor.gaveOut(outcome, of: token)
        case .gone(let token):
            if self.simulation.isCalm {
                self.monitor.violate("I7", "told that the store lost the flight of \(token.short), which it did not")
            }
        case .unavailable(let error):
            if self.simulation.isCalm, error.code != .shutDown {
                self.monitor.violate("I7", "told that the store is unavailable, which it was not")
            }
        case .ledElsewhere:
            if !self.isRefresh { self.monitor.violate("I30", "callers are told nothing, since another process leads") }
        case .led(_, .unverified, _), .lapsed, .absent, .tooLong, .leaderLeft, .leaderCanceled, .shutDown:
            break
        case .ranAlone:
            if !self.isAlone { self.monitor.violate("I12", "a flight ran alone") }
        }
    }

    // MARK: - What callers are told

    /// I17, I22: a caller is told what its flight came to.
    ///
    /// - Parameters:
    ///   - isStarter: whether its operation runs, or it leads by hand, if this process leads.
    ///   - calledAt: when it came, by the process's clock.
    func check(_ answer: SimulatedAnswer, isStarter: Bool, calledAt: LeaseInstant, isCertain: Bool, isHandle: Bool) {
        guard let end else {
            if !answer.isCanceled { self.monitor.violate("I17", "a caller was told a result of an abandoned flight") }
            return
        }
        if let waited = answer.waited, waited != calledAt.duration(to: self.process.store.clock.now) {
            self.monitor.violate("I17", "a caller was told that it waited \(waited), which is wrong")
        }
        var expected = SimulatedAnswer.content(of: end, label: self.process.store.label)
        var leader: String? = self.process.store.label
        var (source, attempts, coordination) = (ResultSource.thisProcess, 1, Coordination.coordinated)
        switch end {
        case .led(_, let verdict, let attempt):
            attempts = attempt + 1
            if case .unverified = verdict {
                coordination = .degraded
                if isCertain { expected = .groupError(.unavailable) }
            }
            expected = expected ?? self.ownContent(isLeased: true)
        case .tooLong(let token, let attempt):
            attempts = attempt + 1
            if token == nil { coordination = .degraded }
        case .ranAlone:
            coordination = self.isObserved ? .observed : .degraded
            expected = self.ownContent(isLeased: false)
        case .followed(let token, let outcome, let isReused, let takeovers):
            (expected, leader) = SimulatedAnswer.content(
                of: outcome,
                token,
                run: self.monitor.run(of: token.description),
                codec: self.process.codec,
                hasTypedFailures: self.simulation.plan.hasTypedFailures
            )
            (source, attempts) = (isReused ? .reused : .remote, takeovers + 1)
            if let record = self.monitor.record(of: token), leader != nil, leader != record.label {
                self.monitor.violate("I22", "told that \(leader ?? "nobody") led, which \(record.label) did")
            }
        case .unavailable: coordination = .degraded
        case .leaseLost, .leaderLeft, .leaderCanceled, .gone, .lapsed, .absent, .ledElsewhere, .shutDown: break
        }
        if answer.content != expected {
            self.monitor.violate(
                "I17",
                "a caller was told \(answer.content), not \(expected.map { "\($0)" } ?? "nothing")"
            )
        }
        guard answer.role != nil, answer.content != .groupError(.unavailable) else { return }
        let role: FlightRole =
            switch source {
            case .thisProcess: isStarter ? .leader : .subscriber
            case .remote: .follower
            case .reused: .reused
            }
        if answer.source != source || answer.role != role || answer.attempts != attempts || answer.leader != leader
            || answer.coordination != coordination || answer.token != end.token
        {
            self.monitor.violate(
                "I22",
                "a caller was told wrongly how its result came about: \(answer), \(end.summary)"
            )
        }
        self.checkSharing(answer, isHandle: isHandle)
    }

    private func checkSharing(_ answer: SimulatedAnswer, isHandle: Bool) {
        guard !isHandle, let isShared = answer.isShared else { return }
        self.sharedAnswers += 1
        self.hasUnsharedAnswer = self.hasUnsharedAnswer || !isShared
        if self.sharedAnswers > 1, self.hasUnsharedAnswer {
            self.monitor.violate("I22", "two callers got one result, and were told that it is not shared")
        }
    }

    /// What callers of this process get of what was handed in.
    private func ownContent(isLeased: Bool) -> SimulatedAnswer.Content {
        guard let result else { return .other }
        let content = SimulatedAnswer.content(of: result)
        switch content {
        case .value(let value) where isLeased && value.kind == .large: return .groupError(.resultTooLarge)
        case .value(let value) where isLeased && value.kind == .unencodable: return .groupError(.encodingFailed)
        case .value(let value) where value.run != self.runs.last || value.key != self.key: return .other
        case .failure where !self.isObserved && !self.simulation.plan.hasTypedFailures:
            return .remoteFailure(leader: self.process.store.label, self.end?.token)
        default: return content
        }
    }
}

extension FlightEnd {
    /// The token of the lease that the outcome is of, if there is a result.
    var token: LeaseToken? {
        switch self {
        case .led(let token, _, _), .followed(let token, _, _, _): token
        case .tooLong(let token, _): token
        case .ranAlone, .leaseLost, .leaderLeft, .leaderCanceled, .gone, .lapsed, .absent, .ledElsewhere, .shutDown,
            .unavailable:
            nil
        }
    }

    var summary: String {
        switch self {
        case .followed(let token, let outcome, let isReused, _):
            "\(isReused ? "reused" : "followed") \(token.short), \(outcome.summary)"
        case .led(let token, let verdict, _): "led \(token.short), \(verdict)"
        case .leaseLost(let token, let reason): "lost \(token.short), \(reason.map { "\($0)" } ?? "reason unknown")"
        case .ranAlone: "ran alone"
        case .tooLong(let token, _): "\(token?.short ?? "a run without a lease") ran too long"
        case .leaderLeft: "left by its leader"
        case .leaderCanceled(let reason): "canceled by its leader: \(reason)"
        case .gone(let token): "\(token.short) is gone"
        case .lapsed(let token): "\(token.short) lapsed"
        case .absent: "no flight"
        case .ledElsewhere: "led elsewhere"
        case .shutDown: "shut down"
        case .unavailable(let error): "unavailable, \(error)"
        }
    }
}
