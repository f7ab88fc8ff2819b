import Singleflight
import SingleflightLease

/// One process of a simulation: the real local group in front of real flight drivers, on a store of its own.
final class SimulatedProcess {
    let index: Int
    let machine: SimulatedMachine
    let store: SimulatedLeaseStore
    let terms: FlightTerms
    let rate: Double
    unowned let simulation: SimulationRun
    private let group = Group<FlightKeyIndex, FlightResolution>()
    /// The flights that callers can join, by key.
    private var joinable: [FlightKeyIndex: SimulatedFlight] = [:]
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
    }

    var inFlight: Int { self.group.inFlight }

    /// One more caller for a key.
    func call(_ key: FlightKeyIndex) -> SimulatedCaller {
        switch self.group.entry(key) {
        case .subscriber(let subscriber):
            let caller = SimulatedCaller(subscriber: subscriber, machine: self.machine)
            guard let flight = self.joinable[key] else {
                self.simulation.monitor.violate("I11", "the group has a flight of a key that nobody drives")
                return caller
            }
            flight.add(caller)
            return caller
        case .leader(let leader):
            let caller = SimulatedCaller(subscriber: leader.subscribe(), machine: self.machine)
            let store = WatchedStore(store: self.store, process: self)
            let flight = SimulatedFlight(leader: leader, store: store, process: self)
            let driver = FlightDriver(
                key: self.simulation.keys[key],
                store: store,
                terms: self.terms,
                tooLong: .failure(Array("too long".utf8)),
                random: .seeded(self.simulation.scheduler.random.next()),
                owner: flight
            )
            self.joinable[key] = flight
            self.unfinished.append(flight)
            flight.add(caller)
            leader.onAbandoned { driver.abandon() }
            driver.start()
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
        self.joinable = [:]
    }

    func ended(_ flight: SimulatedFlight, isFinished: Bool) {
        if self.joinable[flight.key] === flight {
            self.joinable[flight.key] = nil
        }
        if isFinished {
            self.unfinished.removeAll { $0 === flight }
        }
    }

    /// I15: whoever is told that its lease is lost stops at once.
    func checkLoss(_ store: WatchedStore) {
        guard let token = store.lostToken else { return }
        if self.unfinished.contains(where: { $0.token == token && $0.isOperating }) {
            self.simulation.monitor.violate("I15", "process \(self.index) works on under \(token.short), which it lost")
        }
    }
}

/// One caller: told once, unless it left before.
final class SimulatedCaller {
    private let subscriber: Subscriber<FlightKeyIndex, FlightResolution>
    private let machine: SimulatedMachine
    private(set) var isTold = false
    private(set) var hasLeft = false
    fileprivate var onLeave: () -> Void = {}

    init(subscriber: Subscriber<FlightKeyIndex, FlightResolution>, machine: SimulatedMachine) {
        self.subscriber = subscriber
        self.machine = machine
    }

    func leave() {
        self.machine.execute {
            guard !self.isTold, !self.hasLeft else { return }
            self.hasLeft = true
            self.onLeave()
            self.subscriber.leave()
        }
    }

    fileprivate func tell() -> Bool {
        defer { self.isTold = true }
        return !self.isTold
    }
}

/// One flight of one process: its callers and its operation.
///
/// `@unchecked`, because its state has no lock: a simulation runs in one thread, which calls whatever it has scheduled one after
/// the other, and a lock would only hide a part of it that escaped.
final class SimulatedFlight: FlightOwner, @unchecked Sendable {
    private enum Operation: Equatable {
        case none
        case running
        case canceled
        case finished
    }

    let key: FlightKeyIndex
    private(set) var token: LeaseToken?
    private(set) var driver: FlightDriver?
    private var leader: Leader<FlightKeyIndex, FlightResolution>?
    private let store: WatchedStore
    private unowned let process: SimulatedProcess
    private var callers: [SimulatedCaller] = []
    private var operation = Operation.none
    private var isResolved = false
    private var isFinished = false

    init(leader: Leader<FlightKeyIndex, FlightResolution>, store: WatchedStore, process: SimulatedProcess) {
        self.key = leader.key
        self.leader = leader
        self.store = store
        self.process = process
    }

    private var simulation: SimulationRun { self.process.simulation }
    private var monitor: SimulationMonitor { self.process.simulation.monitor }

    var hasLed: Bool { self.token != nil }
    var isOperating: Bool { self.operation == .running }

    func add(_ caller: SimulatedCaller) {
        self.callers.append(caller)
        caller.onLeave = { [weak self] in
            guard let self else { return }
            self.store.isAbandoned = self.callers.allSatisfy(\.hasLeft)
        }
    }

    /// Lets go of everything, without a word.
    func drop() {
        self.isFinished = true
        self.leader?.cancel()
        self.leader = nil
        self.driver = nil
        self.callers = []
    }

    // MARK: - FlightOwner

    func startOperation(token: LeaseToken, driver: FlightDriver) {
        guard self.process.machine.isAlive else { return }
        if self.operation != .none || self.isFinished {
            self.monitor.violate("I11", "a flight's operation started twice, or after its end")
        }
        self.token = token
        self.driver = driver
        self.operation = .running
        self.simulation.operations += 1
        self.simulation.scheduler.note("process \(self.process.index) runs the operation of \(token.short)")
        self.monitor.operationStarted(token, inbox: self.process.store.inbox)
        self.simulation.run(self, token: token, on: self.process)
    }

    func cancelOperation(_ loss: OperationLoss) {
        if self.operation == .canceled || self.isFinished {
            self.monitor.violate("I11", "an operation was canceled twice, or after its flight's end")
        }
        if self.operation == .running {
            self.operation = .canceled
        }
    }

    /// - Parameter isCooperative: whether the operation ends when it is canceled, and then says nothing.
    func operationEnded(_ outcome: StoredOutcome, isCooperative: Bool) {
        guard let driver, self.operation == .running || (self.operation == .canceled && !isCooperative) else { return }
        self.operation = .finished
        driver.operationFinished(outcome)
    }

    func resolve(_ resolution: FlightResolution) {
        guard self.process.machine.isAlive else { return }
        self.simulation.scheduler.note("process \(self.process.index) tells its callers: \(resolution.summary)")
        if self.isResolved || self.isFinished {
            self.monitor.violate("I11", "a flight's callers were told twice, or after its end")
        }
        self.isResolved = true
        self.store.flightResolved()
        // Its callers have been told when the operation of a lost flight ends, so that no new one runs beside it.
        if self.leader?.complete(.success(resolution)) != true {
            self.monitor.violate("I11", "a flight was resolved that had no callers")
        }
        for caller in self.callers where !caller.hasLeft {
            if !caller.tell() { self.monitor.violate("I11", "a caller was told twice") }
        }
        self.check(resolution)
        self.process.ended(self, isFinished: false)
    }

    func finish() {
        guard self.process.machine.isAlive else { return }
        if self.isFinished {
            self.monitor.violate("I11", "a flight ended twice")
        }
        if !self.isResolved, self.callers.contains(where: { !$0.hasLeft }) {
            self.monitor.violate("I11", "a flight ended and left its callers hanging")
        }
        self.isFinished = true
        self.store.flightEnded()
        self.process.ended(self, isFinished: true)
        self.leader = nil
        self.driver = nil
        self.callers = []
    }

    /// I4, I5, I6: what callers are told is what the store knows.
    private func check(_ resolution: FlightResolution) {
        switch resolution {
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
        case .led(_, .unverified, _), .tooLong, .leaderLeft, .leaderCanceled, .shutDown:
            break
        }
    }
}

typealias FlightKeyIndex = Int

extension FlightResolution {
    fileprivate var summary: String {
        switch self {
        case .followed(let token, let outcome, let isReused, _):
            "\(isReused ? "reused" : "followed") \(token.short), \(outcome.summary)"
        case .led(let token, let verdict, _): "led \(token.short), \(verdict)"
        case .leaseLost(let token, let reason): "lost \(token.short), \(reason.map { "\($0)" } ?? "reason unknown")"
        case .tooLong(let token, _): "\(token.short) ran too long"
        case .leaderLeft(let token): "\(token.short) was left by its leader"
        case .leaderCanceled(let token, let reason): "\(token.short) was canceled by its leader: \(reason)"
        case .gone(let token): "\(token.short) is gone"
        case .shutDown: "shut down"
        case .unavailable(let unavailable): "unavailable, \(unavailable.error)"
        }
    }
}
