import FaultProxy
import Foundation
import NIOCore
import NIOPosix
import PrivateRedis
import SingleflightCLI
import SingleflightRedis

/// One chunk of a soak: its server, its processes, its trouble, and the account of what they do. Belongs to one task.
///
/// Everything that happens comes in on one stream, also the time: the stage reads it in order.
final class SoakStage {
    private enum Event {
        case said(process: Int32, WorkerReport)
        case ended(process: Int32, ProcessExit)
        case second
    }

    struct Member {
        var process: ChildProcess
        var isReady = false
        /// For how many keys flights listened when no call was under way any more.
        var listening: Int?
        /// Until when it need not have said anything.
        var silentUntil: MonotonicTime
    }

    /// The workers that no trouble ends: their size is watched.
    static let steady = 0..<2
    private static let endLimit = Duration.seconds(20)

    let redis: PrivateRedis
    let history: SoakHistory
    var report: SoakReport
    var random: FlightRandom
    var ledger = OperationLedger()
    var workers: [Member] = []
    /// The ways to the server of those workers that have one that can be slow.
    private(set) var links: [Int: SlowLink] = [:]
    /// Until which second each of the links is slow.
    var slowUntil: [Int: Int] = [:]
    /// Until which second the server is away, if it is, and what the trouble is.
    var away: (until: Int, chaos: Chaos)?
    /// From which second on a trouble may be made again.
    var notBefore: [Chaos: Int] = [:]
    /// What became of the last leases of processes that have said their last.
    var accounts: [Int32: [String: LeaseAccount]] = [:]
    /// The seconds that went by while something else was waited for.
    private var secondsAhead = 0
    /// The time for which sizes are not looked at: processes connect again.
    private var unsettledSeconds = 0
    /// The processes that have said their last.
    private var ended: Set<Int32> = []
    /// Processes whose end is part of the plan.
    var dismissed: Set<Int32> = []
    /// When the calls were made that took too long.
    private var overdue: Set<MonotonicTime> = []
    private var sizes: [String: (memory: [Double], descriptors: [Double])] = [:]
    private let events: AsyncStream<Event>.Continuation
    private var incoming: AsyncStream<Event>.Iterator

    init(redis: PrivateRedis, report: SoakReport, history: SoakHistory) {
        self.redis = redis
        self.history = history
        self.report = report
        self.random = FlightRandom.seeded(report.seed &+ UInt64(report.chunks) &* 1_000_003)
        let (stream, continuation) = AsyncStream.makeStream(of: Event.self)
        self.events = continuation
        self.incoming = stream.makeAsyncIterator()
    }

    /// Runs for these seconds and returns the report, with what this chunk adds.
    func run(seconds: Int, progress: (SoakReport) -> Void) async throws -> SoakReport {
        let clock = MultiThreadedEventLoopGroup.singleton.next()
            .scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { [events] _ in events.yield(.second) }
        defer { clock.cancel() }
        do {
            try await self.startWorkers()
            try await self.read(atMost: 30, "the workers to connect") { $0.workers.allSatisfy(\.isReady) }
            for second in 1...seconds {
                try await self.nextSecond()
                try await self.endTrouble(in: second)
                try await self.makeTrouble(in: second, of: seconds)
                self.measure()
                if second % 2 == 0, self.away == nil { try await self.scanKeys() }
                self.ledger.forget(before: .now)
                self.report.secondsDone += 1
                progress(self.report)
                if !self.ledger.violations.isEmpty || !self.report.violations.isEmpty { break }
            }
            try await self.end()
        } catch {
            await self.stopAll()
            self.report.violations.append("\(error)")
        }
        for link in self.links.values { await link.close() }
        self.judgeSizes()
        self.report.add(self.ledger)
        self.report.add(try self.history.judge())
        self.report.chunks += 1
        return self.report
    }

    // MARK: Workers

    private func startWorkers() async throws {
        guard let socket = self.redis.socketPath else { throw CommandFailure("the server has no socket") }
        let count = self.report.settings.workers
        for index in 0..<count {
            // Every other of those that trouble may end.
            if index >= Self.steady.upperBound, index % 2 == 1 || index == count - 1 {
                self.links[index] = try await SlowLink.start(to: socket, bytesPerSecond: nil)
            }
            self.workers.append(try await self.start(index, seed: self.random.next() >> 1, settings: 0))
        }
    }

    private func start(_ index: Int, seed: UInt64, settings number: UInt64) async throws -> Member {
        let settings = self.report.settings
        let worker = [
            "chaos-worker", "--seed", "\(seed)", "--callers", "\(settings.callers)", "--keys", "\(settings.keys)",
            "--settings", "\(number)", "--history", "\(self.history.directory)/\(self.report.processes)",
        ]
        let url = self.links[index].map { "redis://127.0.0.1:\($0.port)" } ?? self.redis.url
        let environment = [
            "SINGLEFLIGHT_URL": url, "SINGLEFLIGHT_NAMESPACE": SoakSettings.namespace,
            // What a big value took goes back to the system at once, so that sizes say what is in use.
            "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "2",
        ]
        let process = try await ChildProcess(ChildProcess.ownExecutable(), worker, environment: environment)
        self.report.processes += 1
        let events = self.events
        Task {
            for await line in process.lines {
                guard let report = try? JSONText.decode(WorkerReport.self, from: line) else { continue }
                events.yield(.said(process: process.id, report))
            }
            // In this order, so that its last words come before its end.
            events.yield(.ended(process: process.id, await process.exit()))
        }
        return Member(process: process, silentUntil: MonotonicTime.now.advanced(by: SoakSettings.longestCall))
    }

    /// Starts another worker in the place of one that is gone.
    func replace(_ index: Int, _ plan: TroublePlan, settings: UInt64 = 0) async throws {
        self.workers[index] = try await self.start(index, seed: plan.seed, settings: settings)
        if settings > 0 { self.report.settingsTried += 1 }
    }

    /// The end of its input makes a worker shut down; it must do so by itself.
    private func dismiss(_ process: ChildProcess) async {
        self.dismissed.insert(process.id)
        await process.stop(grace: Self.endLimit)
        let exit = await process.exit()
        if exit != .code(0) { self.report.violations.append("a worker that was to shut down ended with \(exit)") }
    }

    private func end() async throws {
        try await self.endTrouble(in: .max)
        for worker in self.workers { worker.process.send(try JSONText.line(WorkerOrder.drain)) }
        try await self.read(atMost: 20, "the last calls to end") { $0.workers.allSatisfy { $0.listening != nil } }
        // I13: at rest no flight is left, and no timer either: nothing to spend time on.
        for worker in self.workers where worker.listening != 0 {
            let count = worker.listening.map { "\($0)" } ?? "some"
            self.report.violations.append("worker \(worker.process.id) still listens for \(count) keys at rest")
        }
        let before = Self.steady.map { ProcessFigures(of: self.workers[$0].process.id)?.processorTime }
        for _ in 0..<Self.restSeconds { try await self.nextSecond() }
        for (index, before) in zip(Self.steady, before) {
            guard let before, let after = ProcessFigures(of: self.workers[index].process.id)?.processorTime else {
                continue
            }
            let share = (after - before) / Double(Self.restSeconds) * 100
            self.report.busiestAtRest = max(self.report.busiestAtRest, share)
            if share > Self.busyAtRest {
                self.report.violations.append("worker \(index + 1) takes \(SoakReport.text(share)) % of a core at rest")
            }
        }
        for worker in self.workers { await self.dismiss(worker.process) }
        // I8: at rest nothing is left but the fences, once what is kept for latecomers has run out.
        let rest =
            WorkerSettings.longestLease + WorkerSettings.longestGrace + WorkerSettings.longestRetention + .seconds(1)
        for _ in 0...Int(rest / .seconds(1)) { try await self.nextSecond() }
        let left = try await self.redis.command("EVAL", Self.leftovers, "0")
        if !left.hasPrefix("*0") {
            self.report.violations.append("keys that are left at rest: \(left.debugDescription)")
        }
    }

    /// How long processes may take to connect again when the server is back; some 1.5 s, and a new attempt.
    private static let settlingSeconds = 3
    /// How long processor time is counted when nothing is to be done.
    private static let restSeconds = 2
    /// Per cent of a core; a process that has nothing to do looks ten times a second whether it has something to tell.
    private static let busyAtRest = 5.0

    private func stopAll() async {
        self.redis.resume()
        for worker in self.workers {
            self.dismissed.insert(worker.process.id)
            worker.process.signal(SIGKILL)
            _ = await worker.process.exit()
        }
    }

    // MARK: Events

    private func nextSecond() async throws {
        guard self.secondsAhead == 0 else {
            self.secondsAhead -= 1
            return
        }
        while let event = await self.incoming.next(isolation: #isolation) {
            if try self.note(event) { return }
        }
        throw CancellationError()
    }

    private func read(atMost seconds: Int, _ what: String, until isDone: (SoakStage) -> Bool) async throws {
        for _ in 0..<seconds {
            if isDone(self) { return }
            try await self.nextSecond()
        }
        guard isDone(self) else { throw CommandFailure("waited \(seconds) s in vain for \(what)") }
    }

    /// Has a worker shut down, and reads all that it has to say, then lets it end.
    func shutDown(_ process: ChildProcess, _ order: WorkerOrder) async throws {
        self.dismissed.insert(process.id)
        let start = MonotonicTime.now
        process.send(try JSONText.line(order))
        while self.accounts[process.id] == nil, !self.ended.contains(process.id),
            let event = await self.incoming.next(isolation: #isolation)
        {
            if try self.note(event) { self.secondsAhead += 1 }
        }
        if let listening = self.workers.first(where: { $0.process.id == process.id })?.listening, listening > 0 {
            self.report.violations.append("a worker that had shut down listened for \(listening) keys")
        }
        await self.dismiss(process)
        self.report.longestShutdown = max(self.report.longestShutdown, start.duration(to: .now) / .seconds(1))
    }

    /// Whether a second has gone by.
    private func note(_ event: Event) throws -> Bool {
        switch event {
        case .second:
            for worker in self.workers where MonotonicTime.now > worker.silentUntil {
                throw CommandFailure("worker \(worker.process.id) said nothing for \(SoakSettings.longestCall)")
            }
            return true
        case .ended(let process, let exit):
            self.ended.insert(process)
            if !self.dismissed.contains(process) {
                throw CommandFailure("worker \(process) ended by itself with \(exit)")
            }
        case .said(let process, let said):
            let index = self.workers.firstIndex { $0.process.id == process }
            if let index { self.workers[index].silentUntil = .now.advanced(by: SoakSettings.longestCall) }
            switch said {
            case .ready: if let index { self.workers[index].isReady = true }
            case .drained(let listening, let leases):
                self.accounts[process] = leases
                if let index { self.workers[index].listening = listening }
            case .period(let period): self.note(period, from: process)
            }
        }
        return false
    }

    private func note(_ period: WorkerPeriod, from process: Int32) {
        self.report.add(period, isWatched: Self.steady.contains { self.workers[$0].process.id == process })
        let now = MonotonicTime.now
        for record in period.operations { self.ledger.add(record) }
        for result in period.results { self.ledger.add(result, at: now) }
        guard let oldest = period.oldestCall else { return }
        let age = oldest.duration(to: now) / .seconds(1)
        self.report.oldestCall = max(self.report.oldestCall, age)
        // I7: nobody hangs. Each call is told of once.
        if age > SoakSettings.longestCall / .seconds(1), self.overdue.insert(oldest).inserted {
            self.report.violations.append("a call of worker \(process) was under way for \(SoakReport.text(age)) s")
        }
    }

    // MARK: Measures

    private func measure() {
        // What a process has open, and keeps at hand, is less while it cannot connect.
        guard self.away == nil else {
            self.unsettledSeconds = Self.settlingSeconds
            return
        }
        guard self.unsettledSeconds == 0 else {
            self.unsettledSeconds -= 1
            return
        }
        for index in Self.steady { self.measure("worker \(index + 1)", self.workers[index].process.id) }
        self.measure("this process", getpid())
        if let server = self.redis.pid { self.measure(Self.server, server) }
    }

    private func measure(_ name: String, _ process: Int32) {
        guard let figures = ProcessFigures(of: process) else { return }
        self.sizes[name, default: ([], [])].memory.append(figures.residentBytes)
        self.sizes[name, default: ([], [])].descriptors.append(figures.descriptors)
    }

    private static let server = "the server"

    /// Another process has its place: what that one takes says nothing about this one.
    func forgetServerSize() {
        self.sizes[Self.server] = nil
        self.unsettledSeconds = Self.settlingSeconds
    }

    private func judgeSizes() {
        for (name, size) in self.sizes.sorted(by: { $0.key < $1.key }) {
            let chunk = "chunk \(self.report.chunks + 1), \(name)"
            self.judge(Trend.memory, size.memory.map { $0 / 1_048_576 }, "\(chunk), resident", " MiB")
            var descriptors = Trend.descriptors
            // Each worker may have a connection more, since its first long result.
            if name == Self.server { descriptors.slack += Double(self.report.settings.workers) }
            self.judge(descriptors, size.descriptors, "\(chunk), descriptors", "")
        }
    }

    private func judge(_ trend: Trend, _ samples: [Double], _ what: String, _ unit: String) {
        guard let verdict = trend.judge(samples) else { return }
        self.report.flatness.append(.init(what: what, unit: unit, verdict: verdict))
        if !verdict.isFlat {
            let (early, late) = (SoakReport.text(verdict.early), SoakReport.text(verdict.late))
            self.report.violations.append("\(what): from \(early) to \(late)\(unit)")
        }
    }

    private func scanKeys() async throws {
        let answer = try await self.redis.command("EVAL", Self.immortals, "0")
        // A line with the number of keys, and one with those that have no time to live.
        let lines = answer.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("$") && !$0.hasPrefix("*") }
        guard let count = lines.first.flatMap({ Int($0.drop { $0 == ":" }) }) else {
            throw CommandFailure("unexpected answer to a scan: \(answer.debugDescription)")
        }
        self.report.scans += 1
        self.report.keysScanned += count
        for key in lines.dropFirst() { self.report.violations.append("the key \(key) has no time to live") }
    }

    /// All keys are looked at in one go: a key that is there for a moment only is seen, too.
    private static let immortals = """
        local cursor, count, found = '0', 0, {}
        repeat
            local page = redis.call('SCAN', cursor, 'COUNT', 1000)
            for _, key in ipairs(page[2]) do
                count = count + 1
                if redis.call('PTTL', key) == -1 then found[#found + 1] = key end
            end
            cursor = page[1]
        until cursor == '0'
        return {count, unpack(found, 1, math.min(#found, 100))}
        """

    private static let leftovers = """
        local cursor, found = '0', {}
        repeat
            local page = redis.call('SCAN', cursor, 'COUNT', 1000)
            for _, key in ipairs(page[2]) do
                if not string.find(key, ':fence$') then found[#found + 1] = key end
            end
            cursor = page[1]
        until cursor == '0'
        return {unpack(found, 1, math.min(#found, 100))}
        """
}
