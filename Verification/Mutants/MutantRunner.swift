import Foundation
import Singleflight
import SingleflightSimulation

/// Turns on one planted bug, and runs seeds until an invariant breaks: `Mutants SEEDS NAME [FIRST]`. Says which seed
/// broke which. A seed that breaks something without the bug, too, does not count. FIRST is run before all others: a
/// seed that is known to catch the bug.
///
/// `Mutants clean FIRST LAST` runs seeds without a bug, of which none may break anything.
@main
enum MutantRunner {
    static func main() throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.first == "clean", arguments.count == 3, let first = UInt64(arguments[1]),
            let last = UInt64(arguments[2]), first <= last
        {
            self.runClean(first...last)
        }
        guard (2...3).contains(arguments.count), let seeds = UInt64(arguments[0]), seeds > 0 else {
            self.end("usage: Mutants SEEDS NAME [FIRST], or Mutants clean FIRST LAST", EX_USAGE)
        }
        let name = arguments[1]
        guard Planted.turnOn(name) else {
            self.end("this build has no bugs in it: build it with -Xswiftc -DPLANTED_BUGS", EX_CONFIG)
        }
        let known = arguments.count > 2 ? UInt64(arguments[2]).map { [$0] } ?? [] : []
        for seed in [AnySequence(known), AnySequence(1...seeds)].joined() {
            guard let failure = Simulation.run(seed: seed).failure, try self.isClean(seed) else { continue }
            self.end("\(name) \(seed) \(failure)", EXIT_SUCCESS)
        }
        self.end("\(name) - NOT CAUGHT", EXIT_FAILURE)
    }

    /// Whether a seed breaks nothing without a bug. In another process: the bug may have spoiled what all simulations
    /// of this one share.
    private static func isClean(_ seed: UInt64) throws -> Bool {
        let process = Process()
        process.executableURL = URL(filePath: CommandLine.arguments[0])
        process.arguments = ["clean", "\(seed)", "\(seed)"]
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus == EXIT_SUCCESS
    }

    private static func runClean(_ seeds: ClosedRange<UInt64>) -> Never {
        for seed in seeds {
            guard let failure = Simulation.run(seed: seed).failure else { continue }
            self.end("without a bug, seed \(seed): \(failure)", EXIT_FAILURE)
        }
        self.end("without a bug, \(seeds.count) seeds: no invariant broken", EXIT_SUCCESS)
    }

    private static func end(_ line: String, _ status: Int32) -> Never {
        print(line)
        exit(status)
    }
}
