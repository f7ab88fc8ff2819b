import Singleflight
import SingleflightLease

/// One caller with an operation, or one that only follows: told once, and by its deadline if it has one.
final class SimulatedCaller {
    struct Wishes {
        var limit: Duration?
        var unavailable: UnavailablePolicy
        var priority: TaskPriority
        var wantsProgress: Bool
        /// Whether it follows a flight if there is one, and never leads.
        var isOnlooker: Bool
    }

    unowned let process: SimulatedProcess
    private let key: Int
    private let wishes: Wishes
    private let feed: ProgressFeed?
    private let reader: SimulatedReader?
    private var wait: CallWait?
    private var timer: LeaseTimer?
    private var flight: SimulatedFlight?
    private var isParked = false
    private var isSeated = false
    private var calledAt: LeaseInstant
    private(set) var isTold = false
    private var hasLeft = false
    /// The last report that was read.
    private var lastReport: (run: Int, number: Int)?

    init(_ process: SimulatedProcess, key: Int, _ wishes: Wishes) {
        self.process = process
        self.key = key
        self.wishes = wishes
        self.feed = wishes.wantsProgress ? ProgressFeed(endsWithFlight: false) : nil
        self.calledAt = process.store.clock.now
        self.reader = process.streams.map { SimulatedReader(process, key: key, $0) }
    }

    private var monitor: SimulationMonitor { self.process.simulation.monitor }
    private var scheduler: SimulatedScheduler { self.process.simulation.scheduler }

    func call() {
        let group: GroupCore = self.process.group
        let key = self.process.simulation.key(self.key, of: group)
        let call = group.call(key, waitingAtMost: self.wishes.limit, unavailable: self.wishes.unavailable)
        let before = self.process.standing
        let step =
            self.wishes.isOnlooker
            ? group.follow(key, call) : group.admit(key, call) { driver, _ in self.work(driver) }
        self.checkRefusal(step, before)
        self.reader?.read()
        self.go(on: step)
        self.checkDeadline()
    }

    private func work(_ driver: FlightDriver) -> any FlightOperation {
        guard let flight = driver.observer as? SimulatedFlight else {
            self.monitor.violate("I19", "the group has a flight that nobody knows")
            return SimulatedOperation(SimulatedFlight(self.process, key: self.key, .leased(canTakeOver: true)))
        }
        flight.driver = driver
        return flight.operation()
    }

    /// I20: a caller that is refused changes nothing, and is refused only where as many wait as may.
    private func checkRefusal(_ step: CallStep, _ before: SimulatedProcess.Standing) {
        guard case .ended(let outcome) = step, SimulatedAnswer(outcome).refusal != nil else { return }
        if self.process.standing != before {
            self.monitor.violate("I20", "a caller was refused, and changed something")
        }
    }

    private func go(on step: CallStep) {
        switch step {
        case .ended(let outcome):
            self.told(SimulatedAnswer(outcome))
            self.reader?.told(outcome)
        case .waits(let wait):
            guard let flight = wait.driver.observer as? SimulatedFlight else {
                return self.monitor.violate("I19", "the group has a flight that nobody knows")
            }
            flight.driver = wait.driver
            self.reader?.driver = wait.driver
            self.wait = wait
            self.flight = flight
            self.isParked = false
            self.isSeated = true
            self.lastReport = nil
            flight.seat(self, isStarter: self.isStarter)
            if flight.key != self.key { self.monitor.violate("I19", "a caller joined the flight of another key") }
            self.timer = wait.begin(self.feed, self.reader?.core)
            // A task that is canceled before it waits leaves its place at once.
            if self.hasLeft {
                self.vacate()
                wait.driver.leave(wait.seat, as: .canceled)
            }
            // As a task does, it may take a moment until it waits.
            if !self.scheduler.chance(self.process.simulation.plan.lingering) {
                self.park()
            } else {
                self.scheduler.schedule(after: self.scheduler.duration(.zero...(.milliseconds(3)))) { [self] in
                    self.process.machine.execute { self.park() }
                }
            }
        }
    }

    private var isStarter: Bool { self.wait.map { $0.seat == $0.driver.starterSeat } ?? false }

    private func park() {
        guard let wait, !self.isParked else { return }
        self.isParked = true
        let bound = SimulationBound(self)
        wait.driver.park(.handler { bound.value.resumed($0) }, at: wait.seat, priority: self.wishes.priority)
        // It may have gone on without the store by now.
        if self.isParked, !self.isTold { self.flight?.checkPriority(self.wishes.priority) }
    }

    func leave() {
        self.process.machine.execute {
            guard let wait = self.wait, !self.isTold, !self.hasLeft else { return }
            self.hasLeft = true
            self.vacate()
            wait.driver.leave(wait.seat, as: .canceled)
            self.flight?.checkSeats()
        }
    }

    private func vacate() {
        guard self.isSeated else { return }
        self.isSeated = false
        self.flight?.vacate(isJoined: !self.isStarter)
    }

    private func resumed(_ awakening: Awakening) {
        guard self.process.machine.isAlive, let wait else { return }
        guard case .decode = awakening else { return self.goOn(after: awakening, wait) }
        // As a task does, it may take a moment until it runs.
        self.scheduler.schedule(after: self.scheduler.duration(.zero...(.microseconds(500)))) { [self] in
            self.process.machine.execute { self.goOn(after: .settled(wait.driver.decode()), wait) }
        }
    }

    private func goOn(after awakening: Awakening, _ wait: CallWait) {
        var awakening = awakening
        switch awakening {
        // A task finds out for itself that it was canceled.
        case .left where self.hasLeft: awakening = .canceled
        case .decode, .settled, .left, .canceled: break
        }
        self.read(expecting: nil)
        self.reader?.driver = nil
        let settled = wait.end(awakening, self.timer, self.feed, self.reader?.core)
        self.vacate()
        if case .left = awakening, let flight {
            self.scheduler.schedule(after: .zero) { flight.checkSeats() }
        }
        let before = self.process.refreshes
        let step = self.process.group.resumed(wait, settled) { driver, _ in self.work(driver) }
        if case .settled = awakening { self.checkRefresh(isBegun: self.process.refreshes > before) }
        if case .waits = step, case .fail = self.wishes.unavailable {
            self.monitor.violate("I17", "a caller that asked to fail goes on without the store")
        }
        self.timer = nil
        self.go(on: step)
    }

    /// I30: a result in the last part of its life is computed anew, unless somebody is at it.
    private func checkRefresh(isBegun: Bool) {
        guard let flight, let freshness = flight.freshness, case .followed(_, _, isReused: true, _) = flight.end else {
            return
        }
        let isDue = freshness.left < self.process.simulation.plan.refreshWindow && !freshness.isLed
        if isBegun, !isDue { self.monitor.violate("I30", "a refresh began that was not due") }
        if isDue, !isBegun, !self.process.isRefreshing(self.key) {
            self.monitor.violate("I30", "a result is about to end, and nobody computes it anew")
        }
    }

    /// Has the group compute the result anew, and does not wait for it.
    func refresh() {
        let group: GroupCore = self.process.group
        let key = self.process.simulation.key(self.key, of: group)
        group.refresh(key, unless: .nothing) { driver, _ in self.work(driver) }
    }

    /// I17, I18: told once; canceled only if it left, and sent away only at its limit.
    private func told(_ answer: SimulatedAnswer) {
        if self.isTold { self.monitor.violate("I17", "a caller was told twice") }
        self.isTold = true
        if let refusal = answer.refusal { return self.process.checkRefusal(refusal, key: self.key, isReentrant: false) }
        if answer.isCallerCanceled {
            if !self.hasLeft { self.monitor.violate("I18", "a caller was sent away that had not left") }
        } else if answer.isWaitLimit {
            let deadline = self.wishes.limit.map { self.calledAt.advanced(by: $0) }
            if deadline.map({ self.process.store.clock.now < $0 }) ?? true {
                self.monitor.violate("I18", "a caller was sent away before its limit")
            }
        } else if let flight {
            flight.check(
                answer,
                isStarter: self.isStarter,
                calledAt: self.calledAt,
                isCertain: self.wishes.unavailable == .fail,
                isHandle: false
            )
        }
    }

    /// I18: a caller waits no longer than it wants to.
    private func checkDeadline() {
        guard let limit = self.wishes.limit, !self.isTold else { return }
        let bound = SimulationBound(self)
        _ = self.process.store.clock.schedule(at: self.calledAt.advanced(by: limit)) {
            let caller = bound.value
            // A caller that has its outcome may be reading it.
            caller.scheduler.schedule(after: SimulatedFlight.patience) {
                let machine = caller.process.machine
                guard machine.isAlive, !machine.isPaused, !caller.isTold else { return }
                caller.monitor.violate("I18", "a caller waits beyond its limit")
            }
        }
    }

    /// Whether it waits in vain.
    var isHanging: Bool { self.process.machine.isAlive && !self.isTold }

    /// Whether it reads a stream that does not end.
    var isReadingInVain: Bool { self.process.machine.isAlive && self.reader?.isOver == false }

    /// Whether its time was up before it began to wait.
    func isLate(for flight: SimulatedFlight) -> Bool {
        guard self.waits(for: flight), !self.isParked, let limit = self.wishes.limit else { return false }
        return self.process.store.clock.now >= self.calledAt.advanced(by: limit)
    }

    func waits(for flight: SimulatedFlight) -> Bool { self.flight === flight && self.isSeated && !self.isTold }

    /// I23: reports are of the flight that the caller waits for, come in order, and once.
    ///
    /// - Parameter number: of the report that was just made in this process.
    func read(expecting number: Int?) {
        guard let feed, let flight, self.isSeated, !self.isTold else { return }
        guard let progress = feed.take() else {
            if number != nil { self.monitor.violate("I23", "a report was not told in its own process") }
            return
        }
        let words = progress.message.split(separator: " ")
        let reportedRun = flight.runs.lastIndex { flight.monitor.run(of: $0) == words[0] }
        guard let run = reportedRun, let reported = Int(words[1]) else {
            // The record of a lease that a leader has taken in place of a lost one tells how far the work is, also
            // before the leader knows that it leads again.
            if let token = flight.runs.last, self.monitor.mayGoOn(words[0], under: token) { return }
            return self.monitor.violate("I23", "a caller was told of the progress of another flight")
        }
        if let last = self.lastReport, (run, reported) <= last {
            self.monitor.violate("I23", "a caller was told of older progress, or twice")
        }
        self.lastReport = (run, reported)
        if let number, number != reported { self.monitor.violate("I23", "the latest report was not told") }
    }
}
