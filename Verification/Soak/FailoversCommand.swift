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
            let stage = FailoverStage(deployment.url, title: "failovers", settings: settings, seed: seed) { number in
                try await deployment.trouble(number)
            }
            return try await stage.run(failovers: self.failovers)
        }
        try StandardStream.output.write(report.markdown)
        guard report.violations.isEmpty else { throw ExitCode.failure }
    }
}

extension PrivateSentinels {
    /// The primary is lost in each way in turn.
    fileprivate func trouble(_ number: Int) async throws -> ServerTrouble {
        guard let old = await self.current() else { throw CommandFailure("no sentinel knows the primary") }
        switch number % 3 {
        case 1:
            return ServerTrouble(kind: "a failover, ordered (SENTINEL FAILOVER)") {
                try await self.failOver()
            } heal: {
                try await self.untilComplete()
            }
        case 2:
            return ServerTrouble(kind: "a failover, the primary killed, and started again empty") {
                await old.kill()
                try await self.untilMoved(from: old)
            } heal: {
                try await old.restart()
                try await self.untilComplete()
            }
        default:
            return ServerTrouble(kind: "a failover, the primary frozen, and thawed when there is another") {
                old.pause()
                try await self.untilMoved(from: old)
            } heal: {
                old.resume()
                try await self.untilComplete()
            }
        }
    }
}
