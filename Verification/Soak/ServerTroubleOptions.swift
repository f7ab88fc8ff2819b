import ArgumentParser
import Foundation
import SingleflightCLI

/// What `lab failovers` and `lab reshardings` have in common: worker processes on servers to which things happen.
struct ServerTroubleOptions: ParsableArguments {
    @Option var seed: UInt64?
    @Option(help: "Worker processes.") var workers = 4
    @Option(help: "Callers in each worker.") var callers = 8
    @Option var keys = 300

    func validate() throws {
        guard self.callers > 0, self.keys > 0, (1...64).contains(self.workers) else {
            throw ValidationError("1 to 64 workers, and everything else more than zero")
        }
    }

    /// Plays, prints the report, and fails if a promise was broken.
    ///
    /// - Parameters:
    ///   - count: how often something happens.
    ///   - trouble: what happens, by its number from 1 on.
    func play(
        _ title: String,
        times count: Int,
        on url: String,
        trouble: @escaping (Int) async throws -> ServerTrouble
    ) async throws {
        StandardStream.ignoreBrokenPipes()
        var settings = SoakSettings()
        (settings.workers, settings.callers, settings.keys) = (self.workers, self.callers, self.keys)
        let seed = self.seed ?? .random(in: 0...999_999)
        let stage = FailoverStage(url, title: title, settings: settings, seed: seed, trouble: trouble)
        let report = try await stage.run(failovers: count)
        try StandardStream.output.write(report.markdown)
        guard report.violations.isEmpty else { throw ExitCode.failure }
    }
}
