import Foundation
import SingleflightTestKit

/// Runs simulations: `simulate SEED` replays one with everything that happened, `simulate FIRST COUNT` runs many.
@main
enum SimulationTool {
    static func main() {
        let numbers = CommandLine.arguments.dropFirst().compactMap { UInt64($0) }
        switch (numbers.first, numbers.dropFirst().first) {
        case (let seed?, nil) where CommandLine.arguments.count == 2:
            exit(self.replay(seed))
        case (let first?, let count?) where CommandLine.arguments.count == 3:
            exit(self.run(first: first, count: count))
        default:
            FileHandle.standardError.write(Data("usage: simulate SEED | simulate FIRST COUNT\n".utf8))
            exit(EX_USAGE)
        }
    }

    /// Unbuffered, so that progress shows in a pipe, too.
    private static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    private static func replay(_ seed: UInt64) -> Int32 {
        let report = Simulation.run(seed: seed, isTracing: true)
        for line in report.trace {
            self.say(line)
        }
        self.say("seed \(seed): \(report.failure.map { "\($0)" } ?? "no invariant was broken")")
        return report.failure == nil ? EX_OK : EXIT_FAILURE
    }

    private static func run(first: UInt64, count: UInt64) -> Int32 {
        let clock = ContinuousClock()
        let start = clock.now
        var nextProgress = start.advanced(by: .seconds(5))
        var totals = Totals()
        for seed in first..<(first + count) {
            let report = Simulation.run(seed: seed)
            totals.add(report)
            if let failure = report.failure {
                self.say("seed \(seed): \(failure)")
                self.say("replay it with: make simulate SEED=\(seed)")
                _ = self.replay(seed)
                return EXIT_FAILURE
            }
            if clock.now >= nextProgress {
                nextProgress = clock.now.advanced(by: .seconds(5))
                self.say(totals.line(after: clock.now - start))
            }
        }
        self.say(totals.line(after: clock.now - start))
        self.say("no invariant was broken")
        return EX_OK
    }
}

/// What many runs came to.
private struct Totals {
    private var seeds = 0
    private var steps = 0
    private var callers = 0
    private var operations = 0
    private var leases = 0
    private var faults = 0
    private var simulated = Duration.zero

    mutating func add(_ report: SimulationReport) {
        self.seeds += 1
        self.steps += report.steps
        self.callers += report.callers
        self.operations += report.operations
        self.leases += report.leases
        self.faults += report.faults
        self.simulated += report.duration
    }

    func line(after elapsed: Duration) -> String {
        let seconds = max(elapsed / .seconds(1), 0.001)
        return "\(self.seeds) seeds in \(Int(seconds)) s (\(Int(Double(self.seeds) / seconds))/s): "
            + "\(self.steps) events, \(self.callers) callers, \(self.operations) operations, \(self.leases) leases, "
            + "\(self.faults) faults, \(Int(self.simulated / .seconds(3600))) simulated hours"
    }
}
