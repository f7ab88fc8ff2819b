import Foundation
import Singleflight
import SingleflightTestKit

/// Turns on one planted bug after the other, and runs seeds until an invariant breaks: `Mutants LIST SEEDS [NAME...]`.
@main
enum MutantRunner {
    private struct Bug {
        var name: String
        var file: String
    }

    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst()
        guard let list = arguments.first, let seeds = arguments.dropFirst().first.flatMap({ UInt64($0) }), seeds > 0
        else {
            self.say("usage: Mutants LIST SEEDS [NAME...]")
            exit(EX_USAGE)
        }
        let names = Set(arguments.dropFirst(2))
        let bugs = try self.bugs(of: list).filter { names.isEmpty || names.contains($0.name) }
        var caught: [String: Int] = [:]
        for bug in bugs {
            guard Planted.turnOn(bug.name) else {
                self.say("this build has no bugs in it: build it with -Xswiftc -DPLANTED_BUGS")
                exit(EX_CONFIG)
            }
            let failure = self.firstFailure(in: 1...seeds)
            caught[bug.file, default: 0] += failure == nil ? 0 : 1
            self.say(
                self.padded(bug.name, 44)
                    + (failure.map { self.padded("seed \($0.seed)", 12) + $0.failure.description } ?? "NOT CAUGHT")
            )
        }
        let planted = Dictionary(grouping: bugs, by: \.file)
        self.say("")
        for file in planted.keys.sorted() {
            self.say(self.padded(file, 68) + "\(caught[file] ?? 0) of \(planted[file]?.count ?? 0)")
        }
        let sum = caught.values.reduce(0, +)
        self.say("\(sum) of \(bugs.count) caught")
        exit(sum == bugs.count && sum > 0 ? EXIT_SUCCESS : EXIT_FAILURE)
    }

    /// Each line of the list names a bug and the source file that it is planted in.
    private static func bugs(of list: String) throws -> [Bug] {
        try String(contentsOfFile: list, encoding: .utf8).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count == 2, line.first != "#" else { return nil }
            return Bug(name: String(words[0]), file: String(words[1]))
        }
    }

    private static func firstFailure(in seeds: ClosedRange<UInt64>) -> (seed: UInt64, failure: SimulationFailure)? {
        for seed in seeds {
            if let failure = Simulation.run(seed: seed).failure { return (seed, failure) }
        }
        return nil
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }

    /// Unbuffered, so that progress shows in a pipe, too.
    private static func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }
}
