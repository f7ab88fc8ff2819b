import Singleflight
import SingleflightLease

/// A caller that wants to lead by hand, until it knows whether it does.
final class SimulatedEntry {
    private unowned let process: SimulatedProcess
    private let key: Int
    private let unavailable: UnavailablePolicy
    private let calledAt: LeaseInstant
    private var wait: CallWait?
    private var isDecided = false
    private(set) var handle: (any SimulatedHandle)?

    init(_ process: SimulatedProcess, key: Int, _ unavailable: UnavailablePolicy) {
        self.process = process
        self.key = key
        self.unavailable = unavailable
        self.calledAt = process.store.clock.now
    }

    private var monitor: SimulationMonitor { self.process.simulation.monitor }
    private var scheduler: SimulatedScheduler { self.process.simulation.scheduler }

    func call() {
        let group: GroupCore = self.process.group
        let key = self.process.simulation.key(self.key, of: group)
        let before = self.process.standing
        switch group.enter(key, group.call(key, unavailable: self.unavailable)) {
        case .decided(let entry):
            self.isDecided = true
            if case .subscriber = entry, self.process.standing != before {
                self.monitor.violate("I20", "a caller was refused, and changed something")
            }
            self.take(entry, isSeated: false)
        case .undecided(let wait):
            guard let flight = wait.driver.observer as? SimulatedFlight else {
                return self.monitor.violate("I19", "the group has a flight that nobody knows")
            }
            flight.driver = wait.driver
            flight.seat(nil, isStarter: wait.seat == wait.driver.starterSeat)
            self.wait = wait
            let bound = SimulationBound(self)
            wait.driver.onDecision { decision in bound.value.learned(decision) }
        }
    }

    private func learned(_ decision: LocalDecision) {
        // As a task does, it may take a moment until it goes on.
        self.scheduler.schedule(after: self.scheduler.duration(.zero...(.milliseconds(1)))) { [self] in
            self.process.machine.execute { self.decided(decision) }
        }
    }

    private func decided(_ decision: LocalDecision?) {
        guard let wait, !self.isDecided, self.process.machine.isAlive else { return }
        self.isDecided = true
        let flight = wait.driver.observer as? SimulatedFlight
        let isSeated: Bool
        switch decision {
        case .leads, .follows, .reuses, .over(nil): isSeated = true
        case .over, nil:
            isSeated = false
            flight?.vacate(isJoined: wait.seat != wait.driver.starterSeat)
        }
        let entry = self.process.group.entered(wait, decision)
        flight?.checkSeats()
        self.take(entry, isSeated: isSeated)
    }

    private func take(_ entry: EntryCore, isSeated: Bool) {
        switch entry {
        case .leader(let core):
            guard let flight = core.driver.observer as? SimulatedFlight else {
                return self.monitor.violate("I19", "the group has a flight that nobody knows")
            }
            flight.driver = core.driver
            if !isSeated { flight.seat(nil, isStarter: true) }
            let leader = SimulatedLeader(self.process, core, flight, isCertain: self.unavailable == .fail)
            self.handle = leader
            flight.leads(leader, core.driver)
            leader.begin()
        case .subscriber(let core):
            let flight = core.driver?.observer as? SimulatedFlight
            flight?.driver = core.driver
            let isStarter = isSeated && core.driver.map { $0.starterSeat == self.wait?.seat } ?? false
            let isNew = core.driver != nil && !isSeated
            if isNew { flight?.seat(nil, isStarter: false) }
            let subscriber = SimulatedSubscriber(
                self.process,
                core,
                flight,
                key: self.key,
                isStarter: false,
                isJoined: !isStarter,
                calledAt: self.calledAt,
                isCertain: self.unavailable == .fail
            )
            self.handle = subscriber
            subscriber.begin()
        }
    }

    /// The caller's task is canceled; later, its handle goes.
    func leave() {
        self.process.machine.execute {
            guard self.isDecided else { return self.decided(nil) }
            self.handle?.leave()
        }
    }

    /// Whether it holds a handle that waits in vain.
    var isHanging: Bool { self.process.machine.isAlive && (self.handle?.isHanging ?? !self.isDecided) }
}

/// What a caller that works by hand holds.
protocol SimulatedHandle: AnyObject {
    var isHanging: Bool { get }
    func leave()
    func drop()
}

/// A caller that leads by hand.
final class SimulatedLeader: SimulatedHandle {
    private unowned let process: SimulatedProcess
    private let flight: SimulatedFlight
    /// Whether it asked to fail rather than go without the store.
    private let isCertain: Bool
    private var core: LeaderCore?
    private var isSeated = true
    private var isAwaitingAbandonment = false
    private var losses = 0
    private var abandonments = 0
    private var subscribers: [SimulatedSubscriber] = []

    init(_ process: SimulatedProcess, _ core: LeaderCore, _ flight: SimulatedFlight, isCertain: Bool) {
        self.isCertain = isCertain
        self.process = process
        self.core = core
        self.flight = flight
    }

    private var monitor: SimulationMonitor { self.process.simulation.monitor }
    private var scheduler: SimulatedScheduler { self.process.simulation.scheduler }
    private var plan: SimulationPlan { self.process.simulation.plan }

    func begin() {
        guard let core else { return }
        let bound = SimulationBound(self)
        core.onLost { _ in bound.value.lost() }
        let lease = self.plan.lease.duration
        if self.scheduler.chance(0.4) { self.subscribe(core.waiting(), takesSeat: false) }
        if self.scheduler.chance(0.3) { self.subscribe(core.subscribe(), takesSeat: true) }
        if self.scheduler.chance(0.4) {
            self.after(.zero...lease / 2) { $0.awaitAbandonment() }
        }
        for _ in 1...3 where self.scheduler.chance(0.3) {
            self.after(.zero...lease) { $0.flight.report(run: $0.run) }
        }
        let end = Int.random(in: 0..<10, using: &self.scheduler.random)
        // Nothing but its leader ends a flight without a lease.
        guard end < 9 || core.token == nil else { return }
        self.after(.zero...lease * 2) { leader in
            switch end {
            case 0...4: leader.complete()
            case 5, 6: leader.cancel()
            default: leader.drop()
            }
        }
    }

    private var run: String { self.flight.runs.last ?? "" }

    private func after(_ range: ClosedRange<Duration>, _ work: @escaping (SimulatedLeader) -> Void) {
        self.scheduler.schedule(after: self.scheduler.duration(range)) { [self] in
            self.process.machine.execute {
                if self.core != nil { work(self) }
            }
        }
    }

    private func subscribe(_ core: SubscriberCore, takesSeat: Bool) {
        if takesSeat, !self.flight.isOver { self.flight.seat(nil, isStarter: false, isHandle: true) }
        let subscriber = SimulatedSubscriber(
            self.process,
            core,
            self.flight,
            key: self.flight.key,
            isStarter: true,
            isJoined: nil,
            calledAt: nil,
            isCertain: self.isCertain
        )
        self.subscribers.append(subscriber)
        subscriber.isSeated = takesSeat && !self.flight.isOver
        subscriber.begin()
        self.checkCount()
    }

    /// I21: a leader's handle counts those who wait beside it.
    private func checkCount() {
        guard let core, !self.flight.isOver else { return }
        let expected = self.flight.present - (self.isSeated ? 1 : 0)
        if core.subscriberCount != expected {
            self.monitor.violate("I21", "a leader is told of \(core.subscriberCount) subscribers, not \(expected)")
        }
    }

    private func awaitAbandonment() {
        guard let core, !self.isAwaitingAbandonment else { return }
        self.isAwaitingAbandonment = true
        self.vacate()
        let bound = SimulationBound(self)
        core.onAbandoned { _ in bound.value.abandoned() }
        self.flight.checkSeats()
    }

    private func vacate() {
        guard self.isSeated else { return }
        self.isSeated = false
        self.flight.vacate(isJoined: false)
    }

    private func complete() {
        guard let core else { return }
        let value = SimulatedValue(self.process.simulation.valueKind(), key: self.flight.key, run: self.run)
        self.checkCount()
        self.process.isBlockable += 1
        self.flight.handIn(
            self.scheduler.chance(0.8)
                ? .success(ErasedValue(value)) : .failure(SimulatedFailure(run: self.flight.runs.last ?? ""))
        ) { _ in
            core.complete(
                self.flight.result ?? .failure(SimulatedFailure(run: "unwanted"))
            )
        }
        if self.scheduler.chance(0.3) {
            // A second result is not wanted.
            self.flight.handIn(.failure(SimulatedFailure(run: "second"))) { _ in
                core.complete(.failure(SimulatedFailure(run: "second")))
            }
        }
        self.process.isBlockable -= 1
    }

    private func cancel() {
        guard let core else { return }
        let isLeading = core.driver.isWorking
        if core.cancel(reason: "by hand") != isLeading {
            self.monitor.violate("I21", "told wrongly whether the flight was canceled")
        }
        self.checkGone(core.driver)
    }

    func leave() { self.drop() }

    var isHanging: Bool { self.subscribers.contains(where: \.isHanging) }

    /// Nobody holds the handle any more: the lease is given up, and nobody joins the flight.
    func drop() {
        guard let driver = self.core?.driver else { return }
        self.vacate()
        self.core = nil
        self.checkGone(driver)
    }

    /// I21: a leader that went away leads no more.
    private func checkGone(_ driver: FlightDriver) {
        guard self.process.machine.isAlive else { return }
        if driver.isWorking { self.monitor.violate("I21", "a leader by hand went away, and the flight goes on") }
    }

    private func lost() {
        self.losses += 1
        if self.losses > 1 { self.monitor.violate("I25", "a leader was told twice of its loss") }
    }

    private func abandoned() {
        self.abandonments += 1
        if self.abandonments > 1 || !self.flight.isAbandoned {
            self.monitor.violate("I25", "a leader was told that nobody waits, twice or wrongly")
        }
    }

    /// I25: a leader by hand is told why no result is wanted of it.
    func check(_ loss: OperationLoss) {
        guard self.core != nil else { return }
        let isTold = loss == .abandoned ? self.abandonments == 1 || !self.isAwaitingAbandonment : self.losses == 1
        if !isTold { self.monitor.violate("I25", "a leader was not told that no result is wanted: \(loss)") }
    }
}

/// A caller that waits by a handle.
final class SimulatedSubscriber: SimulatedHandle {
    private unowned let process: SimulatedProcess
    private let flight: SimulatedFlight?
    private let key: Int
    private let isStarter: Bool
    /// Whether it counts among those who joined; `nil` for one that the leader made.
    private let isJoined: Bool?
    private let calledAt: LeaseInstant?
    private let isCertain: Bool
    private var core: SubscriberCore?
    var isSeated: Bool
    private var hasLeft = false
    private var isTold = false

    init(
        _ process: SimulatedProcess,
        _ core: SubscriberCore,
        _ flight: SimulatedFlight?,
        key: Int,
        isStarter: Bool,
        isJoined: Bool?,
        calledAt: LeaseInstant?,
        isCertain: Bool
    ) {
        self.process = process
        self.core = core
        self.flight = flight
        self.key = key
        self.isStarter = isStarter
        self.isJoined = isJoined
        self.calledAt = calledAt
        self.isCertain = isCertain
        self.isSeated = flight != nil
    }

    private var monitor: SimulationMonitor { self.process.simulation.monitor }
    private var scheduler: SimulatedScheduler { self.process.simulation.scheduler }

    func begin() {
        let bound = SimulationBound(self)
        self.core?.onOutcome { bound.value.told($0) }
        guard !self.isTold, self.isJoined == nil, self.scheduler.chance(0.5) else { return }
        self.scheduler.schedule(after: self.scheduler.duration(.zero...self.process.terms.lease.duration)) { [self] in
            self.process.machine.execute { self.leave() }
        }
    }

    private func told(_ outcome: Outcome<ErasedValue>) {
        guard self.process.machine.isAlive else { return }
        if self.isTold { self.monitor.violate("I17", "a subscriber was told twice") }
        self.isTold = true
        let answer = SimulatedAnswer(outcome)
        if let refusal = answer.refusal { return self.process.checkRefusal(refusal, key: self.key, isReentrant: false) }
        if answer.isLeft {
            if !self.hasLeft { self.monitor.violate("I18", "a subscriber was sent away that had not left") }
            return
        }
        guard let flight else {
            let isRight = answer.isCallerCanceled || answer.content == .groupError(.unavailable)
            if !isRight { self.monitor.violate("I17", "a subscriber without a flight was told \(answer.content)") }
            return
        }
        // A handle that the leader made does not know when the leader came.
        let calledAt = self.calledAt ?? answer.waited.map { self.process.store.clock.now.advanced(by: .zero - $0) }
        flight.check(
            answer,
            isStarter: self.isStarter,
            calledAt: calledAt ?? self.process.store.clock.now,
            isCertain: self.isCertain,
            isHandle: true
        )
    }

    /// I17: it is told at once that it left, unless it was told before.
    func leave() {
        guard let core, !self.hasLeft else { return }
        self.hasLeft = true
        self.vacate()
        core.leave()
        if !self.isTold { self.monitor.violate("I17", "a subscriber left, and was not told so") }
        self.flight?.checkSeats()
    }

    var isHanging: Bool { self.core != nil && !self.isTold }

    func drop() {
        guard self.core != nil else { return }
        self.hasLeft = true
        self.vacate()
        self.core = nil
        self.flight?.checkSeats()
    }

    private func vacate() {
        guard self.isSeated else { return }
        self.isSeated = false
        self.flight?.vacate(isJoined: self.isJoined ?? false)
    }
}
