import ArgumentParser
import Foundation
import SingleflightRedis

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check whether a Redis is fit to keep leases.",
        discussion: HelpText.flowing(
            """
            Looks at the connection and, with TLS, at the end of the server's certificate; at the server's version, role and
            settings, at what the user may do, at the way of an announcement, at latency and clocks. Each line is ok, warn,
            fail, or skipped where the user may not know, or something else is in the way; what is not in order says what
            that means and what to do. Everything is tried as the user of the URL: try the workers' user, not only the
            operator. All that is written is one key that lives five seconds at most.

            Whatever state the server is in, there is a report. The status is 1 if anything failed, 69 if the server cannot
            be reached, 77 if it does not let us in.

            Examples:
              singleflight doctor
              singleflight doctor --url "redis://singleflight:$PASSWORD@127.0.0.1"
              singleflight doctor --output json | jq '.findings[].status'
            """
        )
    )

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (url, namespace) = (connection.resolvedURL(), connection.resolvedNamespace())
        let facts = try await RedisProbe.facts(
            url: url,
            configuration: RedisLeaseStoreConfiguration(namespace: namespace, label: "singleflight"),
            wallClock: { .seconds(Date().timeIntervalSince1970) }
        )
        let findings = DoctorRules.findings(of: facts, at: .seconds(Date().timeIntervalSince1970))
        let report = DoctorReport(url: url, namespace: namespace, findings: findings)
        let terminal = output.color.terminal(.output)
        try StandardStream.output.write(report.text(as: output.output, for: terminal))
        if let failure = facts.failure { throw SilentExit(status: CommandFailure(describing: failure).status) }
        guard report.status != .fail else { throw SilentExit(status: .failure) }
    }
}
