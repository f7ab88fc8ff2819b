package import ArgumentParser
import Foundation
import PrivateRedis
import SingleflightCLI

/// Worker processes on a primary with replicas and sentinels, which fails over again and again under load: `make
/// failovers`.
package struct FailoversCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "failovers",
        abstract: "Worker processes on a primary under Sentinel, and failovers, under load."
    )

    @Option(help: "How many failovers.") var failovers = 6
    @Option var seed: UInt64?
    @Option(help: "Worker processes.") var workers = 4
    @Option(help: "Callers in each worker.") var callers = 8
    @Option var keys = 300

    package init() {}

    package func validate() throws {
        guard self.failovers > 0, self.callers > 0, self.keys > 0, (1...64).contains(self.workers) else {
            throw ValidationError("1 to 64 workers, and everything else more than zero")
        }
    }

    package func run() async throws {
        StandardStream.ignoreBrokenPipes()
        var settings = SoakSettings()
        (settings.workers, settings.callers, settings.keys) = (self.workers, self.callers, self.keys)
        let seed = self.seed ?? .random(in: 0...999_999)
        let report = try await PrivateSentinels.with { [settings] deployment in
            try await FailoverStage(deployment, settings: settings, seed: seed).run(failovers: self.failovers)
        }
        try StandardStream.output.write(report.markdown)
        guard report.violations.isEmpty else { throw ExitCode.failure }
    }
}
