package import ArgumentParser
import Foundation
import SingleflightCLI

/// Measures everything that docs/performance.md promises, or how cost grows: `make bench`, `make plots`.
package struct BenchCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure everything that has a budget; end with 1 where a budget is missed."
    )

    enum Format: String, CaseIterable, ExpressibleByArgument {
        case table, json
    }

    @Flag(
        help: "Fewer rounds, and a failure only where a budget is missed by more than twice and that is new."
    )
    var quick = false

    @Option(parsing: .upToNextOption, help: ArgumentHelp("These parts instead of all.", valueName: "part"))
    var only: [BudgetSuite.Part] = []

    @Flag(help: "How cost grows with callers, keys, processes and payload, instead of the budgets.")
    var scaling = false

    @Option(help: ArgumentHelp("Where the compiled Benchmarks/Baselines are.", valueName: "directory"))
    var baselines: String?

    @Option(help: ArgumentHelp("Your own Redis instead of a private one.", valueName: "url"))
    var redis: String?

    @Option(help: ArgumentHelp("A file for the figures.", valueName: "file"))
    var json: String?

    @Option(help: "table or json.")
    var output = Format.table

    @OptionGroup var color: ColorOptions

    package init() {}

    package func run() async throws {
        StandardStream.ignoreBrokenPipes()
        #if DEBUG
            StandardStream.error.note("lab: this is a debug build; its figures mean nothing")
        #endif
        try await BenchRedis.with(redis) { redis in
            if scaling {
                try await measureScaling(redis)
            } else {
                try await measureBudgets(redis)
            }
        }
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
            output == .json ? JSONText.document(report) : BenchTable.text(report, for: color.terminal(.output))
        )
        let failures = quick ? report.regressions : report.missed
        for row in failures { StandardStream.error.note("lab: out of bounds: \(row.name)") }
        guard failures.isEmpty else { throw ExitCode.failure }
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
}

extension BudgetSuite.Part: ExpressibleByArgument {}
