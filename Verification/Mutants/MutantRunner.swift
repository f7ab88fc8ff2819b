import Foundation
import Singleflight
import SingleflightSimulation

/// Turns on one planted bug, and runs seeds until an invariant breaks: `Mutants SEEDS NAME [FIRST]`. Says which seed broke
/// which. That seed must break nothing without the bug. FIRST is run before all others: a seed that is known to catch the
/// bug.
///
/// Without a name all bugs stay off, and no seed may break anything.
@main
enum MutantRunner {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        guard (1...3).contains(arguments.count), let seeds = UInt64(arguments[0]), seeds > 0 else {
            self.end("usage: Mutants SEEDS [NAME [FIRST]]", EX_USAGE)
        }
        guard arguments.count > 1 else { self.runClean(1...seeds) }
        let name = arguments[1]
        guard Planted.turnOn(name) else {
            self.end("this build has no bugs in it: build it with -Xswiftc -DPLANTED_BUGS", EX_CONFIG)
        }
        let known = arguments.count > 2 ? UInt64(arguments[2]).map { [$0] } ?? [] : []
        for seed in [known, Array(1...seeds)].joined() {
            guard let failure = Simulation.run(seed: seed).failure else { continue }
            _ = Planted.turnOn("")
            if let other = Simulation.run(seed: seed).failure {
                self.end("\(name) - NOT CAUGHT FOR WHAT IT IS: without it seed \(seed) breaks \(other)", EXIT_FAILURE)
            }
            self.end("\(name) \(seed) \(failure)", EXIT_SUCCESS)
        }
        self.end("\(name) - NOT CAUGHT", EXIT_FAILURE)
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
