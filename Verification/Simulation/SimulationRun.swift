import Singleflight
import SingleflightLease

/// One run: sets a world up, lets it be disturbed, heals it, and sees whether it comes to rest.
final class SimulationRun {
    let scheduler: SimulatedScheduler
    let server: SimulatedServer
    let monitor: SimulationMonitor
    private(set) var plan: SimulationPlan
    /// What each run of an operation wrote to its end, by its name.
    var streamEnds: [String: StreamEnd] = [:]
    let keys: [FlightKey]
    /// What groups that observe keep about the same keys.
    private let observedKeys: [FlightKey]
    var operations = 0
    /// Whether nothing is to keep a flight from its end but its leader's own end.
    var isCalm: Bool { self.plan.isCalm }

    /// The name of every process's group.
    static let group = "simulated"
    /// A hundred times as many as the longest of a million runs took.
    private static let maximumSteps = 1_000_000

    private let seed: UInt64
    private let sabotage: SimulatedSabotage
    private var processes: [SimulatedProcess] = []
    /// Those that crashed or shut down, kept for whatever still refers to them.
    private var formerProcesses: [SimulatedProcess] = []
    private var callers: [SimulatedCaller] = []
    private var entries: [SimulatedEntry] = []
    private var runs = 0
    private var callersLeft: Int
    private var faults = 0
    private var isHealed = false
    private(set) var serverClockJumps = 0
    private var hasServerClockJumped: Bool { self.serverClockJumps > 0 }

    init(seed: UInt64, isTracing: Bool, sabotage: SimulatedSabotage) {
        self.seed = seed
        self.sabotage = sabotage
        self.scheduler = SimulatedScheduler(seed: seed, isTracing: isTracing)
        self.server = SimulatedServer(scheduler: self.scheduler, sabotage: sabotage)
        self.plan = SimulationPlan(self.scheduler)
        if seed % 4 == 1 { self.plan.stream(self.scheduler) }
        self.monitor = SimulationMonitor(scheduler: self.scheduler)
        self.callersLeft = self.plan.callers
        let numbers = 0..<self.plan.keys
        self.keys = numbers.map { FlightKey(checkedGroup: Self.group, bytes: Array("key \($0)".utf8)) }
        self.observedKeys =
            self.plan.observing == 0
            ? [] : numbers.map { FlightKey(checkedGroup: Self.group + ".observe", bytes: Array("key \($0)".utf8)) }
    }

    /// A key by its number.
    func key(_ number: Int, of group: GroupCore) -> FlightKey { group.key("key \(number)") }

    /// The number of a key.
    static func index(of key: FlightKey) -> Int {
        Int(String(decoding: key.bytes.dropFirst("key ".utf8.count), as: UTF8.self)) ?? -1
    }

    /// Names an operation that runs without a lease.
    func nextRun() -> String {
        self.runs += 1
        return "alone\(self.runs)"
    }

    func valueKind() -> SimulatedValue.Kind {
        guard self.scheduler.chance(self.plan.badValues) else { return .plain }
        return self.scheduler.pick(SimulatedValue.Kind.allCases) ?? .plain
    }

    func run() -> SimulationReport {
        self.server.onExchange = { [unowned self] in self.monitor.check($0) }
        self.monitor.isHeard = { [unowned self] in self.server.isHeard($0) }
        self.monitor.onExpiredLeaseTaken = { [unowned self] token in
            self.checkBelief(token)
            self.checkWork(token)
        }
        self.monitor.onLease = { [unowned self] key, token, expiry in
            guard self.plan.clocks != .wild, !self.hasServerClockJumped else { return }
            self.scheduler.schedule(at: expiry) {
                if self.monitor.expiry(of: key, token) == expiry { self.checkBelief(token) }
            }
        }
        self.scheduler.note("\(self.plan)")
        for index in 0..<self.plan.processes {
            self.processes.append(self.makeProcess(index))
        }
        self.scheduleCall()
        self.scheduleFault()
        while self.callersLeft > 0, self.step() {}
        self.heal()
        self.comeToRest()
        self.checkRest()
        for process in self.processes {
            process.tearDown()
        }
        self.scheduler.removeAll()
        let callers = self.callers.count + self.entries.count
        // While there are processes that handles can go away from.
        self.entries = []
        self.callers = []
        return SimulationReport(
            seed: self.seed,
            failure: self.monitor.violation,
            steps: self.scheduler.steps,
            callers: callers,
            operations: self.operations,
            leases: self.monitor.leasesGranted,
            faults: self.faults,
            duration: self.scheduler.now.sinceOrigin,
            trace: self.scheduler.trace
        )
    }

    private func step() -> Bool {
        if self.scheduler.steps > Self.maximumSteps {
            self.monitor.violate("I7", "too much happens: something goes round in circles")
        }
        return self.monitor.violation == nil && self.scheduler.step()
    }

    private func makeProcess(_ index: Int) -> SimulatedProcess {
        var rate = 1.0
        switch self.plan.clocks {
        case .exact: break
        case .withinMargin: rate = Double.random(in: 0.97...1.03, using: &self.scheduler.random)
        case .wild: rate = Double.random(in: 0.5...2, using: &self.scheduler.random)
        }
        let machine = SimulatedMachine(
            scheduler: self.scheduler,
            offset: self.scheduler.duration(.zero...(.seconds(1000))),
            rate: rate
        )
        let store = SimulatedLeaseStore(
            server: self.server,
            machine: machine,
            label: "process \(index)",
            commandTimeout: self.plan.commandTimeout,
            network: self.isHealed ? SimulatedNetwork() : self.plan.network,
            sabotage: self.sabotage
        )
        store.onInspection = { [unowned self] in
            for caller in self.callers where caller.process === self.processes[index] { caller.read(expecting: nil) }
        }
        var lease = self.plan.lease
        if self.plan.isMixed {
            lease.leaderLoss = SimulationPlan.leaderLoss(self.scheduler)
        }
        var terms = FlightTerms(
            lease: lease,
            margin: self.sabotage == .believesTooLong ? lease.duration / -5 : lease.duration / 20,
            maximumFlight: self.plan.maximumFlight,
            commandTimeout: self.plan.commandTimeout,
            reuse: self.plan.reuse,
            reuseFailures: self.plan.reuse / 2,
            progressInterval: lease.duration / 10
        )
        terms.refreshWindow = self.plan.refreshWindow
        terms.leadsAgain = self.plan.leadsAgain
        terms.outlivesLease = self.plan.outlivesLease
        return SimulatedProcess(
            index: index,
            machine: machine,
            store: store,
            terms: terms,
            rate: rate,
            codec: SimulatedCodec.identifiers[self.plan.isCodecMixed ? index % 2 : 0],
            mode: self.scheduler.chance(self.plan.observing) ? .observe : .coalesce,
            simulation: self
        )
    }

    // MARK: - Work

    private func scheduleCall() {
        let pause = self.scheduler.duration(.zero...self.plan.callInterval * 2)
        self.scheduler.schedule(after: pause) { [unowned self] in
            guard self.callersLeft > 0 else { return }
            self.callersLeft -= 1
            self.call()
            // Callers come in bursts: that is what coalescing is for.
            while self.callersLeft > 0, self.scheduler.chance(0.3) {
                self.callersLeft -= 1
                self.call()
            }
            self.scheduleCall()
        }
    }

    private func call() {
        guard let process = self.scheduler.pick(self.processes) else { return }
        let key = Int.random(in: 0..<self.keys.count, using: &self.scheduler.random)
        let lease = self.plan.lease.duration
        let isImpatient = self.scheduler.chance(self.plan.impatient)
        let patience = isImpatient ? self.scheduler.duration(.zero...self.plan.patience) : nil
        let unavailable = self.scheduler.chance(self.plan.failing) ? UnavailablePolicy.fail : .runLocally
        let isByHand = self.scheduler.chance(self.plan.byHand)
        let isOnlooker = self.scheduler.chance(self.plan.onlooking)
        let wishes = SimulatedCaller.Wishes(
            limit: self.scheduler.chance(self.plan.limited) ? self.scheduler.duration(.zero...lease) : nil,
            unavailable: isOnlooker ? .fail : unavailable,
            priority: self.scheduler.pick([.background, .low, .medium, .high, TaskPriority(rawValue: 33)]) ?? .medium,
            wantsProgress: !isOnlooker && self.scheduler.chance(self.plan.listening),
            isOnlooker: isOnlooker
        )
        if self.plan.refreshWindow > .zero, self.scheduler.chance(0.1) {
            return process.machine.execute { process.refresh(key, wishes) }
        }
        process.machine.execute { [unowned self] in
            let leave: () -> Void
            if isByHand {
                let entry = process.enter(key, unavailable)
                self.entries.append(entry)
                leave = { entry.leave() }
            } else {
                let caller = process.call(key, wishes)
                self.callers.append(caller)
                leave = { caller.leave() }
            }
            if let patience { self.scheduler.schedule(after: patience, leave) }
        }
    }

    /// Runs an operation: it takes a while, may draw fences, and returns or throws; some never end.
    func run(_ flight: SimulatedFlight, _ operation: SimulatedOperation, run: String) {
        let lease = self.plan.lease.duration
        let process = flight.process
        let duration: Duration?
        switch Int.random(in: 0..<10, using: &self.scheduler.random) {
        case 0...1,
            2...3 where !self.plan.hasSlowReaders:
            duration = self.scheduler.duration(.zero...lease / 20)
        // A stream may be silent for longer than what is stored of it lives by itself.
        case 2...8 where self.plan.hasSlowReaders: duration = self.scheduler.duration(lease * 3...lease * 12)
        case 4...6: duration = self.scheduler.duration(.zero...lease)
        case 7...8: duration = self.scheduler.duration(lease...lease * 3)
        // Nothing ends an operation that is only observed.
        default: duration = flight.isObserved ? lease : nil
        }
        let result: Result<SimulatedValue, any Error> =
            self.scheduler.chance(0.8)
            ? .success(SimulatedValue(self.valueKind(), key: flight.key, run: run))
            : .failure(SimulatedFailure(run: run))
        let isCooperative = self.scheduler.chance(0.7)
        if let token = flight.token {
            for _ in 0..<2 where self.scheduler.chance(0.3) {
                self.scheduler.schedule(after: self.scheduler.duration(.zero...(duration ?? lease))) {
                    process.machine.execute { flight.driver?.fence(token: token) { _ in } }
                }
            }
        }
        if self.plan.listening > 0 {
            for _ in 0..<self.plan.reports {
                self.scheduler.schedule(after: self.scheduler.duration(.zero...(duration ?? lease))) {
                    process.machine.execute {
                        guard operation.progress == .running else { return }
                        flight.report(run: run)
                    }
                }
            }
        }
        if !flight.isAlone, self.scheduler.chance(self.plan.reentrant) { self.callInside(flight, operation) }
        if !flight.isAlone, self.plan.reentrant > 0 {
            for _ in 1...2 {
                self.scheduler.schedule(after: self.scheduler.duration(.zero...(duration ?? lease))) {
                    process.machine.execute { self.waitInside(flight, operation) }
                }
            }
        }
        let writer = flight.process.streams.map {
            SimulatedWriter(flight, operation, $0, run: run, over: duration ?? lease)
        }
        operation.writer = writer
        guard let duration else { return }
        self.scheduler.schedule(after: duration) {
            process.machine.execute {
                guard let writer else { return operation.ended(result, isCooperative: isCooperative) }
                writer.finish { isStored in
                    let failure = Result<SimulatedValue, any Error>.failure(SimulatedFailure(run: run))
                    operation.ended(isStored ? result : failure, isCooperative: isCooperative)
                }
            }
        }
    }

    /// I20: an operation that asks its own group for its own key would wait for itself.
    private func callInside(_ flight: SimulatedFlight, _ operation: SimulatedOperation) {
        // A call joins no refresh: that it must not wait for one is looked at where calls come from outside.
        guard let driver = flight.driver, !flight.isOver, !flight.isRefresh else { return }
        let group: GroupCore = flight.process.group
        let key = self.key(flight.key, of: group)
        let step = FlightPath.local.withValue(driver.path) {
            group.admit(key, group.call(key, unavailable: .fail)) { _, _ in operation }
        }
        guard case .ended(let outcome) = step, let refusal = SimulatedAnswer(outcome).refusal else {
            return self.monitor.violate("I20", "an operation waits for itself")
        }
        flight.process.checkRefusal(refusal, key: flight.key, isReentrant: true)
    }

    /// I20: an operation waits for another key for a while, on behalf of its own flight and, perhaps, of one around it.
    private func waitInside(_ flight: SimulatedFlight, _ operation: SimulatedOperation) {
        guard operation.progress == .running else { return }
        let others = flight.process.unfinished.filter { $0 !== flight && !$0.isAlone && $0.isOperating }
        flight.process.waits.begin(
            inside: flight,
            in: self.scheduler.chance(0.5) ? self.scheduler.pick(others) : nil,
            for: Int.random(in: 0..<self.keys.count, using: &self.scheduler.random),
            lasting: self.scheduler.duration(.zero...self.plan.lease.duration)
        )
    }

    // MARK: - Faults

    private func scheduleFault() {
        guard !self.plan.faults.isEmpty else { return }
        self.scheduler.schedule(after: self.scheduler.duration(.zero...self.plan.faultInterval * 2)) { [unowned self] in
            guard !self.isHealed else { return }
            if let fault = self.scheduler.pick(self.plan.faults) {
                self.faults += 1
                self.inject(fault)
            }
            self.scheduleFault()
        }
    }

    private func inject(_ fault: SimulationPlan.Fault) {
        let lease = self.plan.lease.duration
        guard let process = self.scheduler.pick(self.processes), let key = self.scheduler.pick(self.keys) else {
            return
        }
        self.scheduler.note("FAULT \(fault), process \(process.index), \(key)")
        switch fault {
        case .crash:
            process.tearDown()
            self.restart(process, after: self.scheduler.duration(.zero...lease))
        case .pause:
            process.machine.pause(for: self.scheduler.duration(lease / 10...lease * 3))
        case .partition:
            process.store.partition(for: self.scheduler.duration(lease / 10...lease * 3))
        case .commandReset:
            process.store.resetCommands()
        case .inboxReset:
            process.store.resetInbox(for: self.scheduler.duration(.milliseconds(1)...lease))
        case .clockJump:
            process.machine.disturb()
            process.machine.clock.jump(by: self.scheduler.duration(.zero...lease * 2))
        case .eviction:
            self.loseData { self.server.evict(key) }
        case .flush:
            self.loseData { self.server.loseEverything() }
        case .failover:
            self.server.replicate()
            self.scheduler.schedule(after: self.scheduler.duration(.zero...lease / 2)) { [unowned self] in
                self.loseData { self.server.failOver() }
            }
        case .serverClockJump:
            self.serverClockJumps += 1
            self.monitor.hasServerClockJumped = true
            self.server.jump(by: self.scheduler.duration(.zero...lease))
        case .serverErrors:
            let duration = self.scheduler.duration(.zero...lease * 2)
            self.server.failsUntil = self.scheduler.now.advanced(by: duration)
            for process in self.processes {
                process.machine.disturb(for: duration)
            }
        case .shutDown:
            process.machine.execute { [unowned self] in self.shutDown(process) }
        case .revocation:
            let request = RevokeRequest(
                key: key,
                token: self.scheduler.chance(0.5) ? self.monitor.latestToken : nil,
                by: "operator",
                reason: "test"
            )
            process.machine.execute { process.store.send(.revoke(request)) { _ in } }
        case .desertion:
            for caller in self.callers where self.scheduler.chance(0.7) {
                caller.leave()
            }
            for entry in self.entries where self.scheduler.chance(0.7) {
                entry.leave()
            }
        }
    }

    private func loseData(_ loss: () -> Void) {
        loss()
        self.monitor.dataLost(self.server, keys: self.keys + self.observedKeys)
        for process in self.processes {
            process.machine.disturb()
        }
    }

    /// - Postcondition: I14, unless something else goes wrong meanwhile.
    private func shutDown(_ process: SimulatedProcess) {
        guard !process.isShutDown else { return }
        let shutDownAt = self.scheduler.now
        process.shutDown()
        let delay = process.terms.commandTimeout * 2 / min(process.rate, 1)
        self.scheduler.schedule(after: delay) { [unowned self] in
            // Suspended where clocks are wild, and where requests are carried out after their sender gave them up.
            let isSure = self.plan.clocks != .wild && self.plan.network.lateExecution == 0
            if isSure, process.machine.isAlive, process.machine.disturbedUntil < shutDownAt {
                for key in self.keys + self.observedKeys {
                    guard let lease = self.server.inspect(key).lease, lease.inbox == process.store.inbox else {
                        continue
                    }
                    // A grant that got lost on the way is handed back by a best effort, and ends by itself; so does a
                    // lease that its leader no longer believes in.
                    let grantedAt = self.monitor.record(of: lease.token)?.grantedAt ?? shutDownAt
                    if !lease.isExpired, grantedAt > process.machine.disturbedUntil {
                        self.monitor.violate("I14", "process \(process.index) shut down and keeps \(lease.token.short)")
                    }
                }
            }
            process.tearDown()
        }
        self.restart(process, after: delay + self.scheduler.duration(.milliseconds(1)...self.plan.lease.duration))
    }

    private func restart(_ process: SimulatedProcess, after delay: Duration) {
        self.scheduler.schedule(after: delay) { [unowned self] in
            guard let slot = self.processes.firstIndex(where: { $0 === process }) else { return }
            self.scheduler.note("process \(process.index) starts anew")
            self.formerProcesses.append(process)
            self.processes[slot] = self.makeProcess(process.index)
        }
    }

    // MARK: - The end

    private func heal() {
        self.scheduler.note("the world is healed")
        self.isHealed = true
        self.server.failsUntil = self.scheduler.now
        for process in self.processes {
            process.store.network = SimulatedNetwork()
            process.machine.resume()
        }
    }

    private var isAtRest: Bool {
        self.processes.allSatisfy { $0.unfinished.isEmpty && $0.store.outstandingCount == 0 && !$0.machine.isPaused }
    }

    /// I7: with the store within reach, every flight ends.
    private func comeToRest() {
        let longest = self.plan.maximumFlight + self.plan.lease.duration + self.plan.lease.grace
        let limit = self.scheduler.now.advanced(by: longest * 40)
        while !self.isAtRest, self.step() {
            if self.scheduler.now > limit {
                return self.monitor.violate("I7", "there are flights that never end")
            }
        }
        if self.monitor.violation == nil, !self.isAtRest {
            self.monitor.violate("I7", "there are flights that nothing drives any more")
        }
        while self.scheduler.now <= limit, self.step() {}
    }

    /// I8, I13: at rest nothing is left, here or at the server, but what time removes.
    private func checkRest() {
        guard self.monitor.violation == nil else { return }
        for process in self.processes where process.machine.isAlive {
            process.checkObservation()
            if process.inFlight > 0 || process.store.listeningKeyCount > 0 || process.machine.clock.timerCount > 0 {
                self.monitor.violate("I13", "process \(process.index) still listens or has timers")
            }
        }
        // I17: everybody is told in the end.
        if self.callers.contains(where: \.isHanging) || self.entries.contains(where: \.isHanging) {
            self.monitor.violate("I17", "a caller was never told")
        }
        if self.callers.contains(where: \.isReadingInVain) {
            self.monitor.violate("I31", "a reader never came to a stream's end")
        }
        let longest = max(self.plan.lease.duration + self.plan.lease.grace, self.plan.lease.retention, self.plan.reuse)
        // A stream's parts live for a lease more.
        self.server.jump(by: longest + self.plan.lease.duration * 2 + self.plan.lease.grace + self.plan.lease.retention)
        if !self.server.isEmpty {
            self.monitor.violate("I8", "the server keeps something forever")
        }
    }

    /// I15: when a lease runs out, and when one that ran out is taken from its leader, the leader no longer believes in
    /// it, and its operation is canceled, unless it may go on for as long as nobody else is known to lead.
    ///
    /// Suspended where clocks run so differently that the margin does not make up for it, or data was lost. A paused
    /// process can do nothing, and on its return finds out before anything else; its belief counts, not its deeds.
    private func checkBelief(_ token: LeaseToken) {
        guard self.plan.clocks != .wild, !self.hasServerClockJumped, !self.monitor.isDataLost else { return }
        for process in self.processes where process.machine.isAlive {
            for flight in process.unfinished where flight.token == token {
                guard let driver = flight.driver else { continue }
                if driver.isCurrent {
                    self.monitor.violate(
                        "I15",
                        "process \(process.index) believes in \(token.short), which has run out"
                    )
                } else if flight.isOperating, !process.machine.isPaused, !self.plan.leadsAgain {
                    self.monitor.violate(
                        "I15",
                        "process \(process.index) works on under \(token.short), which has run out"
                    )
                }
            }
        }
    }

    /// I14: a lease under which nobody works is handed back, and not left to run out, also if it was granted to a
    /// request that its sender gave up.
    ///
    /// Suspended after faults, where clocks are wild, for requests that are carried out when the lease which they asked
    /// for would be over, and where the sender's clock jumped since: to the sender that time is over then.
    private func checkWork(_ token: LeaseToken) {
        guard self.plan.clocks == .exact, !self.hasServerClockJumped, !self.monitor.isDataLost,
            let lease = self.monitor.record(of: token), lease.operations == 0, lease.key.group == Self.group,
            !lease.isHandedOver,
            lease.grantedAt < lease.caredForUntil,
            let process = self.processes.first(where: { $0.store.inbox == lease.inbox }),
            process.machine.isAlive, !process.isShutDown, process.machine.disturbedUntil < lease.grantedAt,
            process.machine.clock.jumpedAt.map({ $0 < lease.askedAt }) ?? true
        else { return }
        self.monitor.violate("I14", "process \(process.index) lets \(token.short) run out, under which nobody works")
    }
}
