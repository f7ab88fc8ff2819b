import ArgumentParser
import Foundation
import PrivateRedis

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure it on this machine.",
        discussion: """
            Starts a private Redis and worker processes that ask for the same keys as fast as they are answered, and says
            how many calls and flights there were, what they cost Redis, and how long results took to other processes.

            With --budgets it measures instead everything that docs/performance.md promises, and ends with 1 where a
            promise is not kept; `make bench` builds the baselines for that and runs it.

            Examples:
              singleflight bench
              singleflight bench --processes 4 --callers 256 --keys 1000 --zipf 1.1 --payload 1024
              singleflight bench --budgets --quick
            """
    )

    enum Format: String, CaseIterable, ExpressibleByArgument {
        case table, json
    }

    @Option(help: "Worker processes.")
    var processes = 2

    @Option(help: "Callers in each process.")
    var callers = 64

    @Option(help: "Keys that they ask for.")
    var keys = 100

    @Option(help: "How much the wanted keys are wanted: 0 for all alike, 1 for the k-th in proportion to 1/k.")
    var zipf = 1.0

    @Option(help: "Seconds to measure.")
    var duration = 5.0

    @Option(help: "Bytes of a result.")
    var payload = 100

    @Option(help: "Milliseconds that an operation takes.")
    var work = 1

    @Option(help: ArgumentHelp("Your own Redis instead of a private one.", valueName: "url"))
    var redis: String?

    @Flag(help: "Measure what has a budget.")
    var budgets = false

    @Flag(
        help:
            "With --budgets: fewer rounds, and a failure only where a budget is missed by more than twice and that is new."
    )
    var quick = false

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("With --budgets: these parts instead of all.", valueName: "part")
    )
    var only: [BudgetSuite.Part] = []

    @Flag(help: "Measure how cost grows with callers, keys, processes and payload, for the plots in docs/.")
    var scaling = false

    @Option(help: ArgumentHelp("With --budgets: where the compiled Benchmarks/Baselines are.", valueName: "directory"))
    var baselines: String?

    @Option(help: ArgumentHelp("With --budgets or --scaling: a file for the figures.", valueName: "file"))
    var json: String?

    @Option(help: "table or json.")
    var output = Format.table

    @OptionGroup var color: ColorOptions

    func validate() throws {
        try check("processes", processes, 1...64)
        try check("callers", callers, 1...100_000)
        try check("keys", keys, 1...1_000_000)
        try check("payload", payload, 8...8_000_000)
        try check("work", work, 0...60_000)
        guard (0...10).contains(zipf) else { throw ValidationError("--zipf is 0 to 10, not \(zipf)") }
        guard (0.1...3600).contains(duration) else {
            throw ValidationError("--duration is 0.1 to 3600, not \(duration)")
        }
        if let redis { try ConnectionOptions.check(url: redis, of: "--redis") }
    }

    func run() async throws {
        #if DEBUG
            StandardStream.error.note("singleflight: this is a debug build; its figures mean nothing")
        #endif
        try await TerminationSignals.cancelling { [self] in try await measure() }
    }

    private func measure() async throws {
        guard redis == nil else { return try await measure(on: nil) }
        try await PrivateRedis.with { try await measure(on: $0) }
    }

    private func measure(on server: PrivateRedis?) async throws {
        let connection = try await BenchRedis.connect(
            to: redis ?? server?.url ?? ConnectionOptions.defaultURL,
            socketPath: server?.socketPath
        )
        do {
            if budgets {
                try await measureBudgets(connection)
            } else if scaling {
                try await measureScaling(connection)
            } else {
                try await measureLoad(connection)
            }
            await connection.close()
        } catch {
            await connection.close()
            throw error
        }
    }

    private func measureLoad(_ redis: BenchRedis) async throws {
        let bench = LoadBench(
            processes: processes,
            callers: callers,
            keys: keys,
            zipf: zipf,
            seconds: duration,
            payload: payload,
            work: .milliseconds(work),
            redis: redis
        )
        let report = try await bench.run()
        try StandardStream.output.write(
            output == .json ? JSONText.document(report) : BenchRendering.summary(report)
        )
    }

    private func measureBudgets(_ redis: BenchRedis) async throws {
        let baselines = baselines.flatMap { directory in
            redis.socketPath.map { Baselines(directory: directory, socketPath: $0) }
        }
        let suite = BudgetSuite(
            isQuick: quick,
            parts: only.isEmpty ? Set(BudgetSuite.Part.allCases) : Set(only),
            redis: redis,
            baselines: baselines,
            progress: ProgressLine(terminal: color.terminal(.error))
        )
        let report = try await suite.run()
        if let json { try Data(JSONText.document(report).utf8).write(to: URL(fileURLWithPath: json)) }
        try StandardStream.output.write(
            output == .json ? JSONText.document(report) : BenchRendering.table(report, for: color.terminal(.output))
        )
        let failures = quick ? report.regressions : report.missed
        for row in failures { StandardStream.error.note("singleflight: out of bounds: \(row.name)") }
        guard failures.isEmpty else { throw SilentExit(status: .failure) }
    }

    private func measureScaling(_ redis: BenchRedis) async throws {
        let suite = ScalingSuite(
            isQuick: quick,
            redis: redis,
            progress: ProgressLine(terminal: color.terminal(.error))
        )
        let report = try await suite.run()
        if let json { try Data(JSONText.document(report).utf8).write(to: URL(fileURLWithPath: json)) }
        try StandardStream.output.write(JSONText.document(report))
    }

    private func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
        guard range.contains(value) else {
            throw ValidationError("--\(name) is \(range.lowerBound) to \(range.upperBound), not \(value)")
        }
    }
}

extension BudgetSuite.Part: ExpressibleByArgument {}
