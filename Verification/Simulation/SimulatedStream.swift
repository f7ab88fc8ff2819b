import Singleflight
import SingleflightLease

/// What one run of an operation writes to its stream: parts that tell whose they are, at times of its own.
final class SimulatedWriter {
    /// The longest part: a run's name, a number, and dots.
    private static let longestPart = 80

    private unowned let simulation: SimulationRun
    private let machine: SimulatedMachine
    private let core: StreamWriterCore?
    private let terms: StreamTerms
    private let run: String
    private var written = 0
    private var isFinishing = false
    private let key: FlightKey
    private let token: LeaseToken?

    /// Small ones, so that short runs meet each of them.
    static func terms(_ terms: FlightTerms, _ scheduler: SimulatedScheduler) -> StreamTerms {
        var streams = StreamTerms(maximumBytes: scheduler.pick([1 << 20, 1 << 20, 300]) ?? 300, window: 100, terms)
        streams.chunkBytes = 48
        return streams
    }

    init(
        _ flight: SimulatedFlight,
        _ operation: SimulatedOperation,
        _ terms: StreamTerms,
        run: String,
        over duration: Duration
    ) {
        self.terms = terms
        self.simulation = flight.process.simulation
        self.machine = flight.process.machine
        self.run = run
        self.key = flight.process.simulation.key(flight.key, of: flight.process.group)
        self.token = flight.token
        self.core = flight.driver.map { StreamWriterCore($0, token: flight.token, terms, isNoted: false) }
        let scheduler = self.simulation.scheduler
        for _ in 0..<Int.random(in: 0...12, using: &scheduler.random) {
            scheduler.schedule(after: scheduler.duration(.zero...duration)) {
                self.machine.execute {
                    guard operation.progress == .running, !self.isFinishing else { return }
                    self.write()
                }
            }
        }
    }

    private func write() {
        guard let core else { return }
        let dots = String(repeating: ".", count: Int.random(in: 0...40, using: &self.simulation.scheduler.random))
        let part = Array("\(self.run) \(self.written) \(dots)".utf8)
        self.written += 1
        let bound = SimulationBound(self)
        core.write(part) { result in
            let writer = bound.value
            writer.checkLoss(result)
            // I33: what is written and not stored fits into the window, with the part that found room.
            if case .success = result, core.unstored > writer.terms.window + Self.longestPart + 4 {
                writer.simulation.monitor.violate("I33", "\(core.unstored) bytes are on their way to the store")
            }
        }
    }

    /// No more parts come. Calls `done` when it is known whether all of them are stored.
    func finish(_ done: @escaping (Bool) -> Void) {
        guard let core, !self.isFinishing else { return done(false) }
        self.isFinishing = true
        let bound = SimulationBound((writer: self, done: done))
        core.finish { result in
            let (writer, done) = bound.value
            if case .success(let end) = result {
                if end.parts != writer.written || end.bytes > writer.terms.maximumBytes {
                    writer.simulation.monitor.violate("I32", "a stream of \(writer.written) parts ended with \(end)")
                }
                writer.simulation.streamEnds[writer.run] = end
            }
            writer.checkLoss(result.map { _ in () })
            if case .success = result { done(true) } else { done(false) }
        }
    }

    /// I32: what is stored is kept for as long as it is written. A leader whose lease has run out may have stood still.
    private func checkLoss(_ result: Result<Void, any Error>) {
        guard case .failure(let error as DistributedGroupError) = result, error.code == .streamLost else { return }
        let isExpected = self.simulation.monitor.isDataLost || self.simulation.serverClockJumps > 0
        let lease = self.simulation.server.inspect(self.key).lease
        if !isExpected, self.simulation.plan.clocks == .exact, let lease, lease.token == self.token, !lease.isExpired {
            self.simulation.monitor.violate("I32", "a writer was told that the store lost parts: \(error)")
        }
    }

    func stop() { self.core?.stop(CancellationError()) }
}

/// One caller's reading of a stream, at a pace of its own.
final class SimulatedReader {
    let core: StreamReaderCore
    private let process: SimulatedProcess
    private let terms: StreamTerms
    private let isSlow: Bool
    private let calledAt: LeaseInstant
    /// The run whose parts are being read, and how many have come.
    private var run: String?
    private var count = 0
    private var reads = 0
    private let key: Int
    private var answer: SimulatedAnswer?
    /// The flight that the caller waits for.
    var driver: FlightDriver?
    /// Whether the end has come.
    private(set) var isOver = false

    init(_ process: SimulatedProcess, key: Int, _ terms: StreamTerms) {
        let simulation: SimulationRun = process.simulation
        let group: GroupCore = process.group
        self.process = process
        self.terms = terms
        self.key = key
        self.isSlow = simulation.plan.hasSlowReaders || simulation.scheduler.chance(0.2)
        self.calledAt = simulation.scheduler.now
        self.core = StreamReaderCore(simulation.key(key, of: group), group.context, terms)
    }

    private var simulation: SimulationRun { self.process.simulation }
    private var scheduler: SimulatedScheduler { self.process.simulation.scheduler }
    private var monitor: SimulationMonitor { self.process.simulation.monitor }

    /// Reads on, to the end.
    func read() {
        let bound = SimulationBound(self)
        self.reads += 1
        let number = self.reads
        self.core.next { result in bound.value.took(result) }
        self.scheduler.schedule(after: self.terms.lookInterval) { self.checkNews(number) }
    }

    /// I34: what is stored comes within two looks, whatever was announced.
    private func checkNews(_ number: Int) {
        guard self.waits(number) else { return }
        if let driver, driver.streamSource != self.core.source {
            self.monitor.violate("I34", "a reader does not know the run that its flight is")
        }
        guard case .led(let token) = self.core.source else { return }
        let (asked, key) = (self.scheduler.now, self.simulation.key(self.key, of: self.process.group as GroupCore))
        let stored = self.simulation.server.chunkCount(of: key, token)
        guard stored > self.core.place else { return }
        let wait = self.terms.lookInterval * 2 + self.process.terms.commandTimeout * 4
        self.scheduler.schedule(after: wait) {
            let machine = self.process.machine
            guard self.waits(number), !machine.isPaused, machine.disturbedUntil < asked else { return }
            if self.core.source == .led(token), self.core.place < stored {
                self.monitor.violate(
                    "I34",
                    """
                    a reader in process \(self.process.index) waits, behind \(self.core.place) of \(stored) chunks of \
                    \(token.short)
                    """
                )
            }
        }
    }

    /// Whether it still waits for the answer to this question.
    private func waits(_ number: Int) -> Bool {
        number == self.reads && !self.isOver && self.process.machine.isAlive && self.process.machine.clock.isExact
    }

    private func took(_ result: Result<StreamReaderCore.Item?, any Error>) {
        guard self.process.machine.isAlive else { return }
        // I33: a reader holds one answer of the store, and what is left of a part.
        if self.core.heldBytes > self.terms.chunkBytes + 100 {
            self.monitor.violate("I33", "a reader holds \(self.core.heldBytes) bytes")
        }
        if self.isOver { self.monitor.violate("I31", "a reader was told something after the end") }
        self.reads += 1
        switch result {
        case .success(.part(let bytes)): self.check(String(decoding: bytes, as: UTF8.self))
        case .success(.restarted):
            if self.count == 0 { self.monitor.violate("I31", "a reader was told of a new run before it had any part") }
            (self.run, self.count) = (nil, 0)
        case .success(nil), .failure:
            self.isOver = true
            return self.checkEnd(result)
        }
        let pause = self.isSlow ? self.process.terms.lease.duration * 6 : .milliseconds(1)
        self.scheduler.schedule(after: self.scheduler.duration(.zero...pause)) {
            self.process.machine.execute { self.read() }
        }
    }

    /// I31: the parts of one run, from the first, in order, once.
    private func check(_ part: String) {
        let words = part.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, let number = Int(words[1]) else {
            return self.monitor.violate("I31", "a reader got a part that nobody wrote")
        }
        let run = self.run ?? String(words[0])
        self.run = run
        if run != words[0] || number != self.count {
            self.monitor.violate("I31", "a reader of \(run) got part \(number) of \(words[0]), not part \(self.count)")
        }
        self.count += 1
    }

    /// The caller was told what its flight came to.
    func told(_ outcome: Outcome<ErasedValue>) {
        let answer = SimulatedAnswer(outcome)
        self.answer = answer
        guard !answer.isCallerCanceled else { return self.core.leave(CancellationError()) }
        guard case .value(let value) = answer.content else { return self.core.ended(outcome) }
        // The value stands for the stream's end.
        let end = self.simulation.streamEnds[value.run] ?? StreamEnd()
        self.core.ended(.complete(answer.token.map { .led($0) }, end))
    }

    /// I32: nobody is told of an end before it has all parts, or of a failure where there was none.
    private func checkEnd(_ result: Result<StreamReaderCore.Item?, any Error>) {
        guard let answer else {
            return self.monitor.violate("I31", "a stream ended before its flight had")
        }
        switch (result, answer.content) {
        case (.success, .value(let value)):
            let parts = self.simulation.streamEnds[value.run]?.parts ?? 0
            if self.count != parts || (parts > 0 && self.run != value.run) {
                self.monitor.violate("I32", "a stream of \(parts) parts ended after \(self.count)")
            }
        case (.success, _):
            self.monitor.violate("I32", "a stream ended as if it were whole, and its flight had no result")
        case (.failure, .value):
            if self.isSure { self.monitor.violate("I32", "a stream was lost: \(result)") }
        case (.failure, .failure(let failure)):
            self.checkFailed(failure.run)
        case (.failure, .remoteFailure(_, .some(let token))):
            self.checkFailed(token.description)
        case (.failure, _):
            break
        }
    }

    /// Whether nothing kept this reader from the store, and the store from its word.
    private var isSure: Bool {
        self.simulation.plan.clocks == .exact && self.simulation.serverClockJumps == 0 && !self.monitor.isDataLost
            && self.process.machine.disturbedUntil < self.calledAt && !self.process.isShutDown
    }

    /// I32: a failure comes after the parts before it.
    private func checkFailed(_ run: String) {
        guard self.isSure, let end = self.simulation.streamEnds[run] else { return }
        if self.count != end.parts || (end.parts > 0 && self.run != run) {
            self.monitor.violate("I32", "of \(end.parts) parts \(self.count) came before the failure behind them")
        }
    }
}
