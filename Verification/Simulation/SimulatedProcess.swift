import Singleflight
import SingleflightLease

/// One process of a simulation: what users run, from the group down, on a store of its own. Only its callers and their
/// operations are no tasks.
final class SimulatedProcess {
    /// What a caller that is refused must leave as it is.
    struct Standing: Equatable {
        var flights: Int
        var requests: UInt64
        var seated: Int
    }

    let index: Int
    let machine: SimulatedMachine
    let store: SimulatedLeaseStore
    let terms: FlightTerms
    let rate: Double
    unowned let simulation: SimulationRun
    /// The codec's identifier.
    let codec: String
    let maximumWaiters: Int?
    /// The limits of streams, in a run that has them.
    let streams: StreamTerms?
    private(set) var group: GroupCore!
    private(set) var waits: SimulatedWaits!
    private(set) var unfinished: [SimulatedFlight] = []
    private(set) var isShutDown = false
    /// Whether foreign code may run now: on a thread that it may block, or a caller's own. Counts how often that was
    /// said.
    var isBlockable = 0
    /// How often each outcome was decoded.
    private var decodings: [[UInt8]: Int] = [:]
    private let isObserving: Bool
    private var calls = 0

    init(
        index: Int,
        machine: SimulatedMachine,
        store: SimulatedLeaseStore,
        terms: FlightTerms,
        rate: Double,
        codec: String,
        mode: CoalescingMode,
        simulation: SimulationRun
    ) {
        self.index = index
        self.machine = machine
        self.store = store
        self.terms = terms
        self.rate = rate
        self.simulation = simulation
        self.codec = codec
        self.isObserving = mode == .observe
        let plan = simulation.plan
        self.maximumWaiters = plan.maximumWaiters
        self.streams = plan.isStreaming ? SimulatedWriter.terms(terms, simulation.scheduler) : nil
        let scheduler = SimulationBound(simulation.scheduler)
        let bound = SimulationBound(Unowned(self))
        let simulatedCodec = SimulatedCodec(
            identifier: codec,
            isQuick: plan.isCodecQuick,
            onUse: { bound.value.process.codecRuns() },
            onDecoding: { bound.value.process.decoded($0) }
        )
        let context = FlightContext(
            group: SimulationRun.group,
            store: store,
            terms: terms,
            coder: PayloadCoder(
                codec: ErasedCodec(simulatedCodec),
                typedFailures: plan.hasTypedFailures ? SimulatedFailure.rule : nil,
                maximumResultBytes: SimulatedValue.maximumBytes,
                label: store.label
            ),
            runtime: FlightRuntime(
                offload: { work in bound.value.process.offload(work) },
                random: { .seeded(scheduler.value.random.next()) }
            ),
            maximumWaiters: plan.maximumWaiters,
            streams: self.streams
        )
        self.group = GroupCore(context, mode: mode) { key, kind in bound.value.process.flight(of: key, kind) }
        self.waits = SimulatedWaits(self, context)
    }

    var inFlight: Int { self.group.inFlight }

    var standing: Standing {
        Standing(
            flights: self.group.inFlight,
            requests: self.store.requestCount,
            seated: self.unfinished.reduce(0) { $0 + $1.seated }
        )
    }

    // MARK: - Foreign code

    /// Runs work a little later, on what stands for a thread of its own.
    func offload(_ work: @escaping () -> Void) {
        let scheduler = self.simulation.scheduler
        scheduler.schedule(after: scheduler.duration(.zero...(.milliseconds(2)))) { [self] in
            self.machine.execute {
                self.isBlockable += 1
                work()
                self.isBlockable -= 1
            }
        }
    }

    /// I26: a codec that may block runs where nothing else waits for it.
    private func codecRuns() {
        if self.isBlockable == 0, !self.simulation.plan.isCodecQuick {
            self.simulation.monitor.violate("I26", "a codec that may block runs on a thread that must not be blocked")
        }
    }

    /// I26: an outcome is decoded once for each flight of the process.
    private func decoded(_ bytes: [UInt8]) {
        let count = (self.decodings[bytes] ?? 0) + 1
        self.decodings[bytes] = count
        if count > self.followed[bytes] ?? 0 {
            self.simulation.monitor.violate("I26", "an outcome was decoded for more than one caller of a flight")
        }
    }

    /// How many flights of the process came to have each outcome decoded.
    private var followed: [[UInt8]: Int] = [:]

    func learned(_ outcome: StoredOutcome) {
        guard case .value(let bytes) = outcome, let payload = StoredPayload(bytes: bytes) else { return }
        self.followed[payload.body, default: 0] += 1
    }

    // MARK: - Flights

    /// How many flights this process has begun to renew kept results.
    private(set) var refreshes = 0

    /// Whether such a flight of the key is under way.
    func isRefreshing(_ key: Int) -> Bool {
        self.unfinished.contains { $0.key == key && $0.isRefresh && !$0.isOver }
    }

    /// I19: callers of a key share the flight that is open.
    private func flight(of key: FlightKey, _ kind: FlightDriver.Kind) -> SimulatedFlight {
        let flight = SimulatedFlight(self, key: SimulationRun.index(of: key), kind)
        // A caller that only follows joins a flight that others here wait for. The others do not join one that is only
        // followed.
        let isTwice = self.unfinished.contains {
            $0.key == flight.key && $0.isAlone == flight.isAlone && !$0.isOver && !$0.isObserved
                && $0.isRefresh == flight.isRefresh
                && (flight.isFollowing || !$0.isFollowing)
        }
        if isTwice, !flight.isObserved {
            self.simulation.monitor.violate("I19", "a process has two flights of one key")
        }
        if flight.isRefresh {
            self.refreshes += 1
            self.calls += 1
        }
        self.unfinished.append(flight)
        return flight
    }

    func finished(_ flight: SimulatedFlight) {
        self.unfinished.removeAll { $0 === flight }
    }

    // MARK: - Callers

    func call(_ key: Int, _ wishes: SimulatedCaller.Wishes) -> SimulatedCaller {
        let caller = SimulatedCaller(self, key: key, wishes)
        // A call that only follows would be no operation saved.
        if !wishes.isOnlooker { self.calls += 1 }
        caller.call()
        return caller
    }

    func refresh(_ key: Int, _ wishes: SimulatedCaller.Wishes) {
        SimulatedCaller(self, key: key, wishes).refresh()
    }

    func enter(_ key: Int, _ unavailable: UnavailablePolicy) -> SimulatedEntry {
        let entry = SimulatedEntry(self, key: key, unavailable)
        self.calls += 1
        entry.call()
        return entry
    }

    /// I20: a caller is refused where as many wait as may, or where it would wait for itself.
    func checkRefusal(_ refusal: GroupError, key: Int, isReentrant: Bool) {
        let isFull = self.maximumWaiters.map { limit in
            self.unfinished.contains { $0.key == key && !$0.isOver && $0.joined >= limit }
        }
        let isRight = isReentrant ? refusal.code == .reentrantCall : refusal.code == .tooManyWaiters && isFull == true
        if !isRight { self.simulation.monitor.violate("I20", "a caller was refused: \(refusal)") }
    }

    /// I27: a group that observes takes each call for one thing.
    func checkObservation() {
        guard self.isObserving else { return }
        let observation = self.group.observation
        if observation.calls != self.calls || observation.undecided != 0 {
            self.simulation.monitor.violate("I27", "of \(self.calls) calls it is told \(observation)")
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
        self.waits.end()
        for flight in self.unfinished {
            flight.drop()
        }
        self.unfinished = []
    }

    /// I15: a process that is told that its lease is lost stops at once.
    func checkLoss(of token: LeaseToken) {
        guard self.machine.isAlive, !self.machine.isPaused, !self.terms.leadsAgain else { return }
        if self.unfinished.contains(where: { $0.token == token && $0.isOperating }) {
            self.simulation.monitor.violate("I15", "process \(self.index) works on under \(token.short), which it lost")
        }
    }
}

/// Refers to a process from closures that the process holds itself.
private struct Unowned {
    unowned let process: SimulatedProcess

    init(_ process: SimulatedProcess) {
        self.process = process
    }
}
