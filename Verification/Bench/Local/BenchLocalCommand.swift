package import ArgumentParser
import SingleflightCLI

/// The local group's figures, in a process of their own: with the allocations counted or not.
package struct BenchLocalCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(commandName: "bench-local", shouldDisplay: false)

    @Flag(help: "Fewer rounds.")
    var quick = false

    @Flag(help: "How cost grows, instead of the figures with a budget.")
    var growth = false

    package init() {}

    package func run() async throws {
        let bench = LocalBench(isQuick: quick)
        let line = growth ? try JSONText.line(await bench.growth()) : try JSONText.line(await bench.run())
        try StandardStream.output.write(line + "\n")
    }
}
