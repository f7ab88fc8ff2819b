import ArgumentParser
import Bench
import FaultMatrix
import Soak
import Storm

/// What proves and measures the package, in one program. The Makefile runs it; nobody installs it.
@main
struct Lab: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lab",
        abstract: "Prove and measure swift-singleflight.",
        subcommands: [
            SimulateCommand.self, MatrixCommand.self, SoakCommand.self, FailoversCommand.self, ReshardingsCommand.self,
            StormCommand.self,
            BenchCommand.self, WithCommand.self,
            // Not for people: the processes of the above.
            MatrixWorkerCommand.self, SoakWorkerCommand.self, BenchLocalCommand.self, BenchWorkerCommand.self,
        ]
    )
}
