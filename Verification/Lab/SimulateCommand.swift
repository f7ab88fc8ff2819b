import ArgumentParser
import Foundation
import SingleflightSimulation

/// Runs the simulation: one seed, with everything that happens, or many. `make simulate` runs it.
struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run simulations: of one seed, with everything that happens, or of so many from a first one on."
    )

    @Argument(help: "The seed, or the first one.")
    var seed: UInt64

    @Argument(help: "How many seeds; none to replay the one.")
    var count: UInt64?

    func run() throws {
        let isGood = count.map { Self.run(first: seed, count: $0) } ?? Self.replay(seed)
        guard isGood else { throw ExitCode.failure }
    }

    /// Unbuffered, so that progress shows in a pipe, too.
    private static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    private static func replay(_ seed: UInt64) -> Bool {
        let report = Simulation.run(seed: seed, isTracing: true)
        for line in report.trace {
            self.say(line)
        }
        self.say("seed \(seed): \(report.failure.map { "\($0)" } ?? "no invariant was broken")")
        return report.failure == nil
    }

    private static func run(first: UInt64, count: UInt64) -> Bool {
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
                return false
            }
            if clock.now >= nextProgress {
                nextProgress = clock.now.advanced(by: .seconds(5))
                self.say(totals.line(after: clock.now - start))
            }
        }
        self.say(totals.line(after: clock.now - start))
        self.say("no invariant was broken")
        return true
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
