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

    private struct Member {
        var process: ChildProcess
        var isReady = false
        var isDrained = false
        /// Until when it need not have said anything.
        var silentUntil: MonotonicTime
    }

    /// The workers that no trouble ends: their size is watched.
    private static let steady = 0..<2
    private static let endLimit = Duration.seconds(20)

    private let redis: PrivateRedis
    private let history: SoakHistory
    private var report: SoakReport
    private var random: FlightRandom
    private var ledger = OperationLedger()
    private var workers: [Member] = []
    /// Processes whose end is part of the plan.
    private var dismissed: Set<Int32> = []
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
            for _ in 0..<self.report.settings.workers { self.workers.append(try await self.start()) }
            try await self.read(atMost: 30, "the workers to connect") { $0.workers.allSatisfy(\.isReady) }
            for second in 1...seconds {
                try await self.nextSecond()
                try await self.makeTrouble()
                self.measure()
                if second % 2 == 0 { try await self.scanKeys() }
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
        self.judgeSizes()
        self.report.add(self.ledger)
        self.report.add(try self.history.judge())
        self.report.chunks += 1
        return self.report
    }

    // MARK: Workers

    private func start() async throws -> Member {
        let settings = self.report.settings
        let worker = [
            "chaos-worker", "--seed", "\(self.random.next() >> 1)", "--callers", "\(settings.callers)",
            "--keys", "\(settings.keys)", "--history", "\(self.history.directory)/\(self.report.processes)",
        ]
        let environment = ["SINGLEFLIGHT_URL": self.redis.url, "SINGLEFLIGHT_NAMESPACE": SoakSettings.namespace]
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

    private func replace(_ index: Int) async throws { self.workers[index] = try await self.start() }

    /// The end of its input makes a worker shut down; it must do so by itself.
    private func dismiss(_ process: ChildProcess) async {
        self.dismissed.insert(process.id)
        await process.stop(grace: Self.endLimit)
        let exit = await process.exit()
        if exit != .code(0) { self.report.violations.append("a worker that was to shut down ended with \(exit)") }
    }

    private func end() async throws {
        for worker in self.workers { worker.process.send(try JSONText.line(WorkerOrder.drain)) }
        try await self.read(atMost: 20, "the last calls to end") { $0.workers.allSatisfy(\.isDrained) }
        for worker in self.workers { await self.dismiss(worker.process) }
        // I8: at rest nothing is left but the fences, once what is kept for latecomers has run out.
        let rest = SoakSettings.lease + SoakSettings.grace + SoakSettings.retention + .seconds(1)
        for _ in 0...Int(rest / .seconds(1)) { try await self.nextSecond() }
        let left = try await self.redis.command("EVAL", Self.leftovers, "0")
        if !left.hasPrefix("*0") {
            self.report.violations.append("keys that are left at rest: \(left.debugDescription)")
        }
    }

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

    /// Whether a second has gone by.
    private func note(_ event: Event) throws -> Bool {
        switch event {
        case .second:
            for worker in self.workers where MonotonicTime.now > worker.silentUntil {
                throw CommandFailure("worker \(worker.process.id) said nothing for \(SoakSettings.longestCall)")
            }
            return true
        case .ended(let process, let exit):
            if !self.dismissed.contains(process) {
                throw CommandFailure("worker \(process) ended by itself with \(exit)")
            }
        case .said(let process, let said):
            let index = self.workers.firstIndex { $0.process.id == process }
            if let index { self.workers[index].silentUntil = .now.advanced(by: SoakSettings.longestCall) }
            switch said {
            case .ready: if let index { self.workers[index].isReady = true }
            case .drained: if let index { self.workers[index].isDrained = true }
            case .period(let period): self.note(period, from: process)
            }
        }
        return false
    }

    private func note(_ period: WorkerPeriod, from process: Int32) {
        self.report.add(period)
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

    // MARK: Trouble

    private func makeTrouble() async throws {
        let (chaos, lasting) = Chaos.draw(using: &self.random)
        self.report.troubles[chaos.rawValue, default: 0] += 1
        if chaos != .none { self.ledger.add(Trouble(kind: chaos.rawValue, start: .now)) }
        let milliseconds = Int(lasting / .milliseconds(1))
        let any = Int.random(in: self.workers.indices, using: &self.random)
        let expendable = Int.random(in: Self.steady.upperBound..<self.workers.count, using: &self.random)
        switch chaos {
        case .killWorker:
            self.dismissed.insert(self.workers[expendable].process.id)
            self.workers[expendable].process.signal(SIGKILL)
            _ = await self.workers[expendable].process.exit()
            try await self.replace(expendable)
        case .restartWorker:
            await self.dismiss(self.workers[expendable].process)
            try await self.replace(expendable)
        case .pauseWorker:
            await self.workers[any].process.pause()
            await Self.last(for: lasting)
            self.workers[any].process.signal(SIGCONT)
        case .killCommandConnections: try await self.redis.command("CLIENT", "KILL", "TYPE", "normal")
        case .killInboxConnections: try await self.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        case .flushScripts: try await self.redis.command("SCRIPT", "FLUSH")
        case .pauseServer:
            self.redis.pause()
            await Self.last(for: lasting)
            self.redis.resume()
        case .blockServer: try await self.redis.command("DEBUG", "SLEEP", "\(lasting / .seconds(1))")
        case .pauseClients: try await self.redis.command("CLIENT", "PAUSE", "\(milliseconds)")
        case .pauseWrites: try await self.redis.command("CLIENT", "PAUSE", "\(milliseconds)", "WRITE")
        case .none: break
        }
    }

    /// How long a trouble lasts is part of it.
    private static func last(for duration: Duration) async { try? await Task.sleep(for: duration) }

    // MARK: Measures

    private func measure() {
        for index in Self.steady { self.measure("worker \(index + 1)", self.workers[index].process.id) }
        self.measure("this process", getpid())
        if let server = self.redis.pid { self.measure("the server", server) }
    }

    private func measure(_ name: String, _ process: Int32) {
        guard let figures = ProcessFigures(of: process) else { return }
        self.sizes[name, default: ([], [])].memory.append(figures.residentBytes)
        self.sizes[name, default: ([], [])].descriptors.append(figures.descriptors)
    }

    private func judgeSizes() {
        for (name, size) in self.sizes.sorted(by: { $0.key < $1.key }) {
            let chunk = "chunk \(self.report.chunks + 1), \(name)"
            self.judge(Trend.memory, size.memory.map { $0 / 1_048_576 }, "\(chunk), resident", " MiB")
            self.judge(Trend.descriptors, size.descriptors, "\(chunk), descriptors", "")
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
