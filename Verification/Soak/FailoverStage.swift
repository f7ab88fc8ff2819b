import Foundation
import PrivateRedis
import SingleflightCLI
import SingleflightRedis
import Synchronization

/// What is done to servers while workers use them.
struct ServerTrouble {
    /// In words, of which there are few.
    var kind: String
    /// Returns when the servers can be used again.
    var strike: () async throws -> Void
    /// Afterwards, when all workers have had results again.
    var heal: () async throws -> Void = {}
}

/// Some failovers or moves: the worker processes, and the account of what these do. Belongs to one task.
final class FailoverStage {
    /// What the workers say, as it comes in.
    private struct Account {
        var report: FailoverReport
        var ledger = OperationLedger(survivesLostWrites: true)
        var ready: Set<Int32> = []
        var drained: Set<Int32> = []
        /// When the last coordinated result of a process was told.
        var coordinated: [Int32: MonotonicTime] = [:]
        /// When the calls were made that took too long.
        var overdue: Set<MonotonicTime> = []
        /// Whether the end of a process is part of the plan.
        var isEnding = false
    }

    /// The account, for the tasks that read what the workers say.
    private final class Told: Sendable {
        let account: Mutex<Account>

        init(_ report: FailoverReport) {
            self.account = Mutex(Account(report: report))
        }

        func note(_ said: WorkerReport, of process: Int32) {
            let now = MonotonicTime.now
            self.account.withLock { account in
                switch said {
                case .ready: account.ready.insert(process)
                case .drained: account.drained.insert(process)
                case .period(let period):
                    for (end, count) in period.ends {
                        account.report.calls += count
                        account.report.ends[end, default: 0] += count
                    }
                    account.report.violations += period.wrong
                    for record in period.operations { account.ledger.add(record) }
                    for result in period.results { account.ledger.add(result, at: now) }
                    if !period.results.isEmpty { account.coordinated[process] = now }
                    guard let oldest = period.oldestCall else { return }
                    let age = oldest.duration(to: now) / .seconds(1)
                    account.report.oldestCall = max(account.report.oldestCall, age)
                    if age > SoakSettings.longestCall / .seconds(1), account.overdue.insert(oldest).inserted {
                        account.report.violations.append("a call was under way for \(SoakReport.text(age)) s")
                    }
                }
            }
        }
    }

    private let url: String
    private let title: String
    private let trouble: (Int) async throws -> ServerTrouble
    private let settings: SoakSettings
    private let seed: UInt64
    private let told: Told
    private let directory: String
    private var workers: [ChildProcess] = []

    /// - Parameters:
    ///   - url: what workers are told.
    ///   - title: what is done, in one word.
    ///   - trouble: what to do the first time, the second, and so on.
    init(
        _ url: String,
        title: String,
        settings: SoakSettings,
        seed: UInt64,
        trouble: @escaping (Int) async throws -> ServerTrouble
    ) {
        self.url = url
        self.title = title
        self.trouble = trouble
        self.settings = settings
        self.seed = seed
        self.told = Told(FailoverReport(title: title, seed: seed, settings: settings))
        self.directory = NSTemporaryDirectory() + "/singleflight-failovers-\(UUID().uuidString)"
    }

    func run(failovers: Int) async throws -> FailoverReport {
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: self.directory) }
        do {
            for index in 0..<self.settings.workers { self.workers.append(try await self.start(index)) }
            try await self.until("the workers to connect", atMost: .seconds(30)) { account in
                account.ready.count == self.settings.workers
            }
            var random = FlightRandom.seeded(self.seed)
            for number in 1...failovers {
                let trouble = try await self.trouble(number)
                try await self.load(for: .milliseconds(Int.random(in: 300...1_000, using: &random)))
                StandardStream.error.note("\(number) of \(failovers) \(self.title): \(trouble.kind)")
                try await self.make(trouble)
                guard self.told.account.withLock({ $0.report.violations.isEmpty && $0.ledger.violations.isEmpty })
                else {
                    break
                }
            }
            try await self.load(for: .seconds(1))
            try await self.end()
        } catch {
            self.told.account.withLock { $0.report.violations.append("\(error)") }
        }
        await self.stopAll()
        return self.told.account.withLock { account in
            var report = account.report
            report.operations = account.ledger.operations
            report.leasedOperations = account.ledger.leasedOperations
            report.overlaps = account.ledger.overlaps
            report.violations += account.ledger.violations
            return report
        }
    }

    // MARK: Trouble

    private func make(_ trouble: ServerTrouble) async throws {
        self.told.account.withLock { account in
            account.ledger.add(Trouble(kind: trouble.kind, start: .now, end: nil))
            account.report.failovers[trouble.kind, default: 0] += 1
        }
        try await trouble.strike()
        let moved = MonotonicTime.now
        try await self.until("coordinated results of all workers", atMost: .seconds(20)) { account in
            account.coordinated.values.count { moved < $0 } == self.settings.workers
        }
        self.told.account.withLock { $0.report.recoveries.append(moved.duration(to: .now) / .seconds(1)) }
        try await trouble.heal()
        // Until now a store that could not be asked is the trouble's doing, however long the trouble lasted.
        self.told.account.withLock { $0.ledger.end(trouble.kind, at: .now) }
    }

    /// Lets the workers go on for a while: the load is what a failover is tried under.
    private func load(for duration: Duration) async throws {
        try await Task.sleep(for: duration)
        self.told.account.withLock { $0.ledger.forget(before: .now) }
    }

    private func until(_ what: String, atMost limit: Duration, _ condition: (Account) -> Bool) async throws {
        let end = ContinuousClock.now + limit
        while !self.told.account.withLock({ condition($0) }) {
            guard ContinuousClock.now < end else { throw CommandFailure("waited \(limit) in vain for \(what)") }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    // MARK: Workers

    private func start(_ index: Int) async throws -> ChildProcess {
        let worker = [
            "chaos-worker", "--seed", "\((self.seed &+ UInt64(index)) >> 1)", "--callers", "\(self.settings.callers)",
            "--keys", "\(self.settings.keys)", "--history", "\(self.directory)/\(index)",
        ]
        let environment = [
            "SINGLEFLIGHT_URL": self.url, "SINGLEFLIGHT_NAMESPACE": SoakSettings.namespace,
        ]
        let process = try await ChildProcess(ChildProcess.ownExecutable(), worker, environment: environment)
        Task { [told] in
            for await line in process.lines {
                guard let report = try? JSONText.decode(WorkerReport.self, from: line) else { continue }
                told.note(report, of: process.id)
            }
            let exit = await process.exit()
            told.account.withLock { account in
                if !account.isEnding { account.report.violations.append("a worker ended by itself with \(exit)") }
            }
        }
        return process
    }

    private func end() async throws {
        for worker in self.workers { worker.send(try JSONText.line(WorkerOrder.drain)) }
        try await self.until("the last calls to end", atMost: .seconds(20)) { account in
            account.drained.count == self.settings.workers
        }
        self.told.account.withLock { $0.isEnding = true }
        for worker in self.workers {
            await worker.stop(grace: .seconds(20))
            let exit = await worker.exit()
            guard exit != .code(0) else { continue }
            self.told.account.withLock { account in
                account.report.violations.append("a worker that was to shut down ended with \(exit)")
            }
        }
        self.workers = []
    }

    private func stopAll() async {
        self.told.account.withLock { $0.isEnding = true }
        for worker in self.workers {
            worker.signal(SIGKILL)
            _ = await worker.exit()
        }
    }
}
