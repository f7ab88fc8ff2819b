import Foundation
import Singleflight
import SingleflightSimulation

/// Turns on one planted bug, and runs seeds until an invariant breaks: `Mutants SEEDS NAME`. Says which seed broke which.
@main
enum MutantRunner {
    static func main() {
        let arguments = CommandLine.arguments.dropFirst()
        guard arguments.count == 2, let seeds = arguments.first.flatMap({ UInt64($0) }), seeds > 0,
            let name = arguments.last
        else { self.end("usage: Mutants SEEDS NAME", EX_USAGE) }
        guard Planted.turnOn(name) else {
            self.end("this build has no bugs in it: build it with -Xswiftc -DPLANTED_BUGS", EX_CONFIG)
        }
        for seed in 1...seeds {
            if let failure = Simulation.run(seed: seed).failure {
                self.end("\(name) \(seed) \(failure)", EXIT_SUCCESS)
            }
        }
        self.end("\(name) - NOT CAUGHT", EXIT_FAILURE)
    }

    private static func end(_ line: String, _ status: Int32) -> Never {
        print(line)
        exit(status)
    }
}
