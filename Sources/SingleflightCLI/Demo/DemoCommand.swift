import ArgumentParser

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "See it work, and fail well, on this machine.",
        discussion: HelpText.flowing(
            """
            Starts a private Redis, an origin that counts its hits, and worker processes; then plays six scenes: a herd
            on hot keys, a leader that fails, one that is killed, one that is paused past its lease, a Redis that is
            restarted in mid-flight, and a result that everybody sees while it is made. Says what should have happened
            and what did; ends with 1 if a scene went wrong.

            With --redis it plays in a namespace of its own, and names it first, so that `singleflight top` and `singleflight
            watch` can look on. What it leaves there ends by its time to live, fences after seven days.

            Examples:
              singleflight demo
              singleflight demo --workers 8 --callers 1000
              singleflight demo --redis redis://127.0.0.1:6379 --output json
            """
        )
    )

    enum Format: String, CaseIterable, ExpressibleByArgument {
        case table, json
    }

    @Option(help: "Worker processes.")
    var workers = 4

    @Option(help: "Callers in each worker.")
    var callers = 250

    @Option(help: "Keys that the herd wants, each of them in every worker.")
    var keys = 20

    @Option(help: "Times that the herd comes.")
    var rounds = 3

    @Option(help: ArgumentHelp("Your own Redis instead of a private one; it is not restarted.", valueName: "url"))
    var redis: String?

    @Option(help: "table or json.")
    var output = Format.table

    @OptionGroup var color: ColorOptions

    func validate() throws {
        try check("workers", workers, 1...64)
        try check("callers", callers, 1...10_000)
        try check("keys", keys, 1...1_000)
        try check("rounds", rounds, 1...100)
        guard keys <= callers else {
            throw ValidationError(
                "--keys \(keys) is more than --callers \(callers): not every worker would want each key"
            )
        }
        if let redis { try ConnectionOptions.check(url: redis, of: "--redis") }
    }

    func run() async throws {
        var configuration = DemoConfiguration()
        configuration.workers = workers
        configuration.callers = callers
        configuration.keys = keys
        configuration.rounds = rounds
        configuration.redis = redis
        let messages = color.terminal(.error)
        let report = try await TerminationSignals.cancelling { [configuration] in
            try await Demo(configuration: configuration, progress: ProgressLine(terminal: messages)).run()
        }
        try StandardStream.output.write(DemoRendering.text(report, as: output, for: color.terminal(.output)))
        guard report.passed else { throw SilentExit(status: .failure) }
    }

    private func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
        guard range.contains(value) else {
            throw ValidationError("--\(name) is \(range.lowerBound) to \(range.upperBound), not \(value)")
        }
    }
}
