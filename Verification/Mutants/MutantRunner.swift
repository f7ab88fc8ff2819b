import Foundation
import SingleflightLease
import SingleflightTestKit

/// Turns on one planted bug after the other, and runs seeds until an invariant breaks.
@main
enum MutantRunner {
    private static let seeds: ClosedRange<UInt64> = 1...50_000

    static func main() {
        let names = CommandLine.arguments.dropFirst()
        var caught = 0
        for name in names {
            Mutant.planted = name
            if let failure = self.firstFailure() {
                caught += 1
                self.say(name, "seed \(failure.seed)", failure.failure.invariant, failure.failure.message)
            } else {
                self.say(name, "NOT CAUGHT", "", "")
            }
        }
        self.say("\(caught) of \(names.count) caught")
        exit(caught == names.count && caught > 0 ? EXIT_SUCCESS : EXIT_FAILURE)
    }

    private static func firstFailure() -> (seed: UInt64, failure: SimulationFailure)? {
        for seed in self.seeds {
            if let failure = Simulation.run(seed: seed).failure { return (seed, failure) }
        }
        return nil
    }

    private static func say(_ columns: String...) {
        let padded = zip(columns, [42, 12, 4, 0]).map { text, width in
            text + String(repeating: " ", count: max(0, width - text.count))
        }
        // Unbuffered, so that progress shows in a pipe, too.
        FileHandle.standardOutput.write(Data((padded.joined(separator: " ") + "\n").utf8))
    }
}
