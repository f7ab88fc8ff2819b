package import ArgumentParser
import Foundation
import PrivateRedis
import SingleflightCLI

/// Worker processes on one Redis, trouble every second, and an account of whether the promises hold: `make chaos`.
///
/// Runs chunk by chunk, each with processes of its own, and keeps the report in between.
package struct SoakCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "chaos",
        abstract: "Worker processes, trouble every second, and an account of whether the promises hold."
    )

    @Option var minutes: Double
    @Option(help: "Where the report is kept; a run that was interrupted goes on from it.") var directory: String
    @Option var commit = "unknown"
    @Option var seed: UInt64?
    @Option(help: "Minutes for which the same processes run.") var chunk = 5.0
    @Option(help: "Worker processes.") var workers = 8
    @Option(help: "Callers in each worker.") var callers = 12
    @Option var keys = 2000
    @Option(help: "This trouble and no other; more than once for several.") var only: [Chaos] = []
    @Option(help: "Seconds for which the server stays away when it is away for long.") var outage = 60

    package init() {}

    package func validate() throws {
        guard self.minutes > 0, self.chunk > 0, self.callers > 0, self.keys > 0, self.outage > 0,
            (3...64).contains(self.workers)
        else {
            throw ValidationError("3 to 64 workers, and everything else more than zero")
        }
    }

    package func run() async throws {
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
        let settings = SoakSettings(
            workers: self.workers,
            callers: self.callers,
            keys: self.keys,
            troubles: self.only.isEmpty ? Chaos.allCases : self.only,
            outage: self.outage
        )
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
