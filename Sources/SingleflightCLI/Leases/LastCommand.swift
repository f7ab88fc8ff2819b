import ArgumentParser
import SingleflightRedis

struct LastCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "last",
        abstract: "Tell of the last runs of a key: who ran it, when, for how long, and what came of it.",
        discussion: HelpText.flowing(
            """
            `exec` records each run when it is over, the last 20 for 31 days. SKIPS counts those who came while it ran and
            went away, as --if-running skip has it. WHEN is by the clock of the host that ran it. A run whose process was
            killed is not recorded.

            Examples:
              singleflight last nightly-report
              singleflight last nightly-report --output json | jq '.runs[0].status'

            Exit status: 0, 2 if no run of the key is known, 64 usage, 69 Redis unreachable, 77 refused.
            """
        )
    )

    @Argument(help: "The key.")
    var key: String

    @Option(help: "The group it belongs to.")
    var group = "exec"

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws { try GroupName.validate(group) }

    func run() async throws {
        let last = try await connection.withStore { [key, group] store in
            try await store.lastRuns(of: FlightKey(group: group, bytes: ByteText.bytes(key)))
        }
        guard !last.runs.isEmpty || last.skips > 0 else {
            throw CommandFailure(
                "no run of \(ShellWord.quoted(key)) in group \(group) is known",
                status: .notFound
            )
        }
        let report = RunHistory(last, key: key, group: group)
        let text =
            switch output.output {
            case .json: try JSONText.document(report)
            case .ndjson: try JSONText.lines(report.runs)
            case .table: report.table(for: output.color.terminal(.output))
            }
        try StandardStream.output.write(text)
    }
}
