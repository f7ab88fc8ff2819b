import ArgumentParser

/// The local group's figures, in a process of their own: with the allocations counted or not.
struct BenchLocalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-local", shouldDisplay: false)

    @Flag(help: "Fewer rounds.")
    var quick = false

    func run() async throws {
        try StandardStream.output.write(JSONText.line(await LocalBench(isQuick: quick).run()) + "\n")
    }
}
