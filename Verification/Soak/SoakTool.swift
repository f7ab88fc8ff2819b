import ArgumentParser
import Foundation
import NIOCore
import NIOPosix
import PrivateRedis
import SingleflightCLI
import SingleflightRedis
import SingleflightTestKit

/// Worker processes on one Redis, trouble every second, and an account of whether the promises hold: `make chaos`.
@main
struct SoakTool: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "SoakTool",
        subcommands: [SoakCommand.self, SoakWorkerCommand.self],
        defaultSubcommand: SoakCommand.self
    )
}

/// Runs chunk by chunk, each with processes of its own, and keeps the report in between.
struct SoakCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "run")

    @Option var minutes: Double
    @Option(help: "Where the report is kept; a run that was interrupted goes on from it.") var directory: String
    @Option var commit = "unknown"
    @Option var seed: UInt64?
    @Option(help: "Minutes for which the same processes run.") var chunk = 5.0
    @Option(help: "Worker processes.") var workers = 8
    @Option(help: "Callers in each worker.") var callers = 12
    @Option var keys = 2000

    func validate() throws {
        guard self.minutes > 0, self.chunk > 0, self.callers > 0, self.keys > 0, (3...64).contains(self.workers) else {
            throw ValidationError("3 to 64 workers, and everything else more than zero")
        }
    }

    func run() async throws {
        StandardStream.ignoreBrokenPipes()
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
        var report = self.begin()
        while !report.isComplete, report.violations.isEmpty {
            let seconds = min(self.chunk * 60, report.minutes * 60 - report.secondsDone).rounded()
            // DEBUG SLEEP is one of the troubles.
            let configuration = PrivateRedis.Configuration(extraLines: ["enable-debug-command yes"])
            report = try await PrivateRedis.with(configuration) { [report] redis in
                let history = try SoakHistory(directory: self.path("history"))
                return try await SoakStage(redis: redis, report: report, history: history).run(
                    seconds: max(Int(seconds), 1)
                ) { self.show($0) }
            }
            try self.keep(report)
        }
        try StandardStream.output.write(report.markdown)
        guard report.violations.isEmpty else { throw ExitCode.failure }
    }

    /// The report of a run that was interrupted, or a new one.
    private func begin() -> SoakReport {
        let settings = SoakSettings(workers: self.workers, callers: self.callers, keys: self.keys)
        if let data = FileManager.default.contents(atPath: self.path("report.json")),
            let report = try? JSONDecoder().decode(SoakReport.self, from: data), !report.isComplete,
            report.violations.isEmpty, report.commit == self.commit, report.minutes == self.minutes,
            report.settings == settings, self.seed.map({ $0 == report.seed }) ?? true
        {
            StandardStream.error.note("goes on after \(Int(report.secondsDone)) s")
            return report
        }
        var report = SoakReport(commit: self.commit, seed: self.seed ?? .random(in: 0...999_999), minutes: self.minutes)
        report.settings = settings
        return report
    }

    private func keep(_ report: SoakReport) throws {
        try Data(JSONText.document(report).utf8).write(to: URL(fileURLWithPath: self.path("report.json")))
        try Data(report.markdown.utf8).write(to: URL(fileURLWithPath: self.path("report.md")))
    }

    private func path(_ name: String) -> String { "\(self.directory)/\(name)" }

    private func show(_ report: SoakReport) {
        guard Int(report.secondsDone) % 10 == 0 else { return }
        StandardStream.error.note(
            "\(Int(report.secondsDone)) of \(Int(report.minutes * 60)) s, seed \(report.seed): \(report.calls) calls, "
                + "\(report.processes) processes, \(report.keysScanned) keys looked at, "
                + "oldest call \(SoakReport.text(report.oldestCall)) s"
        )
    }
}

/// One worker: orders on standard input, reports on standard output; shuts down at the end of its input.
struct SoakWorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "worker", shouldDisplay: false)

    @Option var seed: UInt64
    @Option var callers: Int
    @Option var keys: Int
    @Option(help: "Where to write what is asked about some of the keys.") var history: String

    func run() async throws {
        let parent = try await LineChannel.standardStreams()
        parent.onClose {
            // Whatever the clean-up hangs on, this is the end; the stage asks for exit status 0.
            MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: .seconds(10)) { _exit(3) }
        }
        let environment = ProcessInfo.processInfo.environment
        let configuration = RedisLeaseStoreConfiguration(
            namespace: SoakSettings.namespace,
            commandTimeout: SoakSettings.commandTimeout
        )
        var settings = SoakSettings()
        (settings.callers, settings.keys) = (self.callers, self.keys)
        let store = try RedisLeaseStore(url: environment["SINGLEFLIGHT_URL"] ?? "", configuration: configuration)
        let life = Task { try await store.run() }
        let recorded = RecordingLeaseStore(
            store,
            in: try SoakHistory.writing(to: self.history),
            where: SoakHistory.isRecorded
        )
        let worker = try SoakWorker(store: recorded, settings: settings, seed: self.seed)
        Self.say(.ready, to: parent)
        let reporting = MultiThreadedEventLoopGroup.singleton.next()
            .scheduleRepeatedTask(initialDelay: .milliseconds(100), delay: .milliseconds(100)) { _ in
                let period = worker.takePeriod()
                if !period.isEmpty { Self.say(.period(period), to: parent) }
            }
        let calls = Task {
            await worker.run()
            Self.say(.period(worker.takePeriod()), to: parent)
            Self.say(.drained, to: parent)
        }
        for await line in parent.lines where (try? JSONText.decode(WorkerOrder.self, from: line)) == .drain {
            worker.drain()
        }
        worker.drain()
        // Calls that are still under way end with the store.
        life.cancel()
        _ = await life.result
        await calls.value
        reporting.cancel()
    }

    private static func say(_ report: WorkerReport, to parent: LineChannel) {
        guard let line = try? JSONText.line(report) else { return }
        parent.send(line)
    }
}
