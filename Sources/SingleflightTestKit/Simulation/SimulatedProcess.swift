import Singleflight
import SingleflightLease

/// One process of a simulation: what users run, from the group down, on a store of its own. Only its callers and their
/// operations are no tasks.
final class SimulatedProcess {
    let index: Int
    let machine: SimulatedMachine
    let store: SimulatedLeaseStore
    let terms: FlightTerms
    let rate: Double
    unowned let simulation: SimulationRun
    private let group: GroupCore
    private(set) var unfinished: [SimulatedFlight] = []
    private(set) var isShutDown = false

    init(
        index: Int,
        machine: SimulatedMachine,
        store: SimulatedLeaseStore,
        terms: FlightTerms,
        rate: Double,
        simulation: SimulationRun
    ) {
        self.index = index
        self.machine = machine
        self.store = store
        self.terms = terms
        self.rate = rate
        self.simulation = simulation
        let scheduler = SimulationBound(simulation.scheduler)
        self.group = GroupCore(
            FlightContext(
                group: SimulationRun.group,
                store: store,
                terms: terms,
                coder: PayloadCoder(
                    codec: ErasedCodec(BytesCodec()),
                    typedFailures: nil,
                    maximumResultBytes: .max,
                    label: store.label
                ),
                runtime: .inline(random: { .seeded(scheduler.value.random.next()) })
            )
        )
    }

    var inFlight: Int { self.group.inFlight }

    /// One more caller for a key; `nil` if there is none, which is a violation.
    func call(_ key: FlightKeyIndex) -> SimulatedCaller? {
        var made: SimulatedFlight?
        func observer() -> SimulatedFlight {
            let flight = SimulatedFlight(process: self)
            made = flight
            return flight
        }
        switch self.group.join(self.simulation.keys[key], isByHand: false, observer: observer()) {
        case .refused(let error):
            self.simulation.monitor.violate("I11", "a caller was refused: \(error)")
            return nil
        case .joined(let driver, let seat, let isStarter):
            guard let flight = isStarter ? made : self.unfinished.first(where: { $0.driver === driver }) else {
                self.simulation.monitor.violate("I11", "the group has a flight of a key that nobody drives")
                return nil
            }
            let caller = SimulatedCaller(driver: driver, seat: seat, flight: flight)
            flight.add(caller)
            let bound = SimulationBound(caller)
            driver.park(.handler { bound.value.resumed($0) }, at: seat, priority: .medium)
            if isStarter {
                flight.driver = driver
                self.unfinished.append(flight)
                driver.begin(flight)
            }
            return caller
        }
    }

    func shutDown() {
        guard !self.isShutDown else { return }
        self.isShutDown = true
        self.store.shutDown()
    }

    /// The process ends without a farewell, or the simulation does.
    func tearDown() {
        self.machine.crash()
        self.store.tearDown()
        for flight in self.unfinished {
            flight.drop()
        }
        self.unfinished = []
    }

    func finished(_ flight: SimulatedFlight) {
        self.unfinished.removeAll { $0 === flight }
    }

    /// I15: a process that is told that its lease is lost stops at once.
    func checkLoss(of token: LeaseToken) {
        guard self.machine.isAlive, !self.machine.isPaused else { return }
        if self.unfinished.contains(where: { $0.token == token && $0.isOperating }) {
            self.simulation.monitor.violate("I15", "process \(self.index) works on under \(token.short), which it lost")
        }
    }
}

/// One caller: told once, unless it left before.
final class SimulatedCaller {
    private let driver: FlightDriver
    private let seat: SeatID
    private let flight: SimulatedFlight
    private(set) var isTold = false
    private(set) var hasLeft = false

    init(driver: FlightDriver, seat: SeatID, flight: SimulatedFlight) {
        self.driver = driver
        self.seat = seat
        self.flight = flight
    }

    func leave() {
        self.flight.process.machine.execute {
            guard !self.isTold, !self.hasLeft else { return }
            self.hasLeft = true
            self.flight.callerLeft()
            self.driver.leave(self.seat)
        }
    }

    func resumed(_ awakening: Awakening) {
        guard self.flight.process.machine.isAlive else { return }
        switch awakening {
        case .decode:
            self.told(self.driver.decode())
        case .settled(let settled):
            self.told(settled)
        case .left, .canceled:
            if !self.hasLeft { self.flight.monitor.violate("I11", "a caller was sent away that had not left") }
        }
    }

    private func told(_ settled: Settled) {
        if self.isTold || self.hasLeft {
            self.flight.monitor.violate("I11", "a caller was told twice, or after it had left")
        }
        self.isTold = true
        self.flight.callerTold(settled)
    }
}

/// What a simulated operation throws.
struct SimulatedFailure: Error {}

/// One flight of one process: its callers, its operation, and what is promised of both.
///
/// `@unchecked`, as ``SimulationBound``.
final class SimulatedFlight: FlightObserving, FlightOperation, @unchecked Sendable {
    private enum Operation: Equatable {
        case none
        case running
        case canceled
        case finished
    }

    unowned let process: SimulatedProcess
    var driver: FlightDriver?
    private(set) var token: LeaseToken?
    private let watch: FlightWatch
    private var callers: [SimulatedCaller] = []
    private var operation = Operation.none
    private var isTold = false
    private var isFinished = false
    private var cancellations = 0

    init(process: SimulatedProcess) {
        self.process = process
        self.watch = FlightWatch(process: process)
    }

    var monitor: SimulationMonitor { self.process.simulation.monitor }
    private var simulation: SimulationRun { self.process.simulation }
    private var scheduler: SimulatedScheduler { self.process.simulation.scheduler }

    var hasLed: Bool { self.token != nil }
    var isOperating: Bool { self.operation == .running }

    func add(_ caller: SimulatedCaller) {
        self.callers.append(caller)
    }

    func callerLeft() {
        self.watch.isAbandoned = self.callers.allSatisfy(\.hasLeft)
    }

    /// Lets go of everything, without a word.
    func drop() {
        self.isFinished = true
        self.driver = nil
        self.callers = []
    }

    // MARK: - FlightOperation

    func begin(token: LeaseToken?) {
        guard self.process.machine.isAlive else { return }
        guard let token else { return self.monitor.violate("I12", "an operation runs without a lease") }
        if self.operation != .none || self.isFinished {
            self.monitor.violate("I11", "a flight's operation started twice, or after its end")
        }
        self.token = token
        self.operation = .running
        self.simulation.operations += 1
        self.scheduler.note("process \(self.process.index) runs the operation of \(token.short)")
        self.monitor.operationStarted(token, inbox: self.process.store.inbox)
        self.simulation.run(self, token: token, on: self.process)
    }

    func cancel() {
        if self.operation == .running { self.operation = .canceled }
    }

    func raise(to priority: TaskPriority) {}

    /// - Parameter isCooperative: whether the operation ends when it is canceled, and then says nothing.
    func operationEnded(_ result: Result<[UInt8], any Error>, isCooperative: Bool) {
        guard let driver, self.operation == .running || (self.operation == .canceled && !isCooperative) else { return }
        self.operation = .finished
        driver.handIn(result.map { ErasedValue($0) })
    }

    // MARK: - FlightObserving

    var trace: TraceContext? { nil }

    func saw(_ step: ObservedStep) {
        guard self.process.machine.isAlive else { return }
        self.watch.saw(step.event)
        if case .replied(let reply, .renew(let token, _, _)) = step.event {
            switch reply {
            case .success(.renew(.lost)), .success(.renew(.expired)):
                // After what follows from it is done, in the same instant.
                self.scheduler.schedule(after: .zero) { [process] in process.checkLoss(of: token) }
            default: break
            }
        }
        for action in step.actions {
            switch action {
            case .send(let request): self.watch.sends(request)
            case .cancelOperation: self.canceled()
            case .tell(let end): self.told(end)
            case .finish: self.finished()
            case .startOperation, .wake: break
            }
        }
    }

    private func canceled() {
        self.cancellations += 1
        if self.cancellations > 1 || self.isFinished {
            self.monitor.violate("I11", "an operation was canceled twice, or after its flight's end")
        }
    }

    private func told(_ end: FlightEnd) {
        self.scheduler.note("process \(self.process.index) tells its callers: \(end.summary)")
        if self.isTold || self.isFinished {
            self.monitor.violate("I11", "a flight's callers were told twice, or after its end")
        }
        self.isTold = true
        self.watch.told()
        self.check(end)
        self.scheduler.schedule(after: .zero) { self.checkCallers() }
    }

    private func finished() {
        if self.isFinished { self.monitor.violate("I11", "a flight ended twice") }
        self.isFinished = true
        // After what follows from it is done, in the same instant.
        self.scheduler.schedule(after: .zero) {
            if self.process.machine.isAlive { self.watch.ended() }
            self.checkCallers()
            self.process.finished(self)
            self.driver = nil
            self.callers = []
        }
    }

    /// I11: a flight that has ended leaves no caller hanging.
    private func checkCallers() {
        guard self.process.machine.isAlive, !self.process.machine.isPaused else { return }
        if self.callers.contains(where: { !$0.hasLeft && !$0.isTold }) {
            self.monitor.violate("I11", "a flight ended and left its callers hanging")
        }
    }

    /// I4: a caller gets the value of the flight that it is told of, through the codec and back.
    func callerTold(_ settled: Settled) {
        guard case .finished(let finished) = settled.settlement, case .success(let value) = finished.result else {
            return
        }
        let bytes = try? value.value(as: [UInt8].self)
        if bytes != finished.token.map({ Array($0.description.utf8) }) {
            self.monitor.violate("I4", "a caller got another value than that of its flight")
        }
    }

    /// I4, I5, I6: what callers are told is what the store knows.
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
        case .followed(let token, let outcome, _, _):
            self.monitor.gaveOut(outcome, of: token)
        case .gone(let token):
            if self.simulation.isCalm {
                self.monitor.violate("I7", "told that the store lost the flight of \(token.short), which it did not")
            }
        case .unavailable(let unavailable):
            if self.simulation.isCalm, unavailable.error.code != .shutDown {
                self.monitor.violate("I7", "told that the store is unavailable, which it was not")
            }
        case .led(_, .unverified, _), .lapsed, .absent, .tooLong, .leaderLeft, .leaderCanceled, .shutDown:
            break
        case .ranAlone:
            self.monitor.violate("I12", "a flight ran alone")
        }
    }
}

typealias FlightKeyIndex = Int

extension FlightEnd {
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
        case .shutDown: "shut down"
        case .unavailable(let unavailable): "unavailable, \(unavailable.error)"
        }
    }
}
