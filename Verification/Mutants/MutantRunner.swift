import Foundation
import Singleflight
import SingleflightSimulation

/// Turns on one planted bug, and runs seeds until an invariant breaks: `Mutants SEEDS NAME`. Says which seed broke
/// which. Without a name all bugs stay off, and no seed may break anything.
@main
enum MutantRunner {
    static func main() {
        let arguments = CommandLine.arguments.dropFirst()
        guard (1...2).contains(arguments.count), let seeds = arguments.first.flatMap({ UInt64($0) }), seeds > 0 else {
            self.end("usage: Mutants SEEDS [NAME]", EX_USAGE)
        }
        let name = arguments.dropFirst().first
        if let name {
            guard Planted.turnOn(name) else {
                self.end("this build has no bugs in it: build it with -Xswiftc -DPLANTED_BUGS", EX_CONFIG)
            }
        }
        for seed in 1...seeds {
            guard let failure = Simulation.run(seed: seed).failure else { continue }
            if let name { self.end("\(name) \(seed) \(failure)", EXIT_SUCCESS) }
            self.end("without a bug, seed \(seed): \(failure)", EXIT_FAILURE)
        }
        if let name { self.end("\(name) - NOT CAUGHT", EXIT_FAILURE) }
        self.end("without a bug, \(seeds) seeds: no invariant broken", EXIT_SUCCESS)
    }

    private static func end(_ line: String, _ status: Int32) -> Never {
        print(line)
        exit(status)
    }
}
