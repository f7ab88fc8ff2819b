import ArgumentParser
import Foundation
import SingleflightRedis

struct ExecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract:
            "Run a command once in the whole cluster, and give its output and status to everybody who asked for it.",
        discussion: """
            The first to come runs the command, with its own standard input, in a process group of its own and without a
            shell. Anyone who asks while it runs waits for it, prints the same output and ends with the same status; a
            command that fails is not tried again by those who wait. Output is shared up to 8 MiB.
            Signals go to the command.

            The command finds in its environment SINGLEFLIGHT_KEY, SINGLEFLIGHT_NAMESPACE and SINGLEFLIGHT_FENCE, a number
            that grows from run to run of the key: storage that remembers the greatest one can refuse a run that was
            overtaken.
            SINGLEFLIGHT_ENCLOSING names the runs around it to exec inside of the command, which is refused where it would wait
            for a run that waits for it.

            When the lease is lost or revoked, the command's processes get SIGTERM and after --kill-after SIGKILL. When
            this process is killed, they are killed with it.

            Examples:
              singleflight exec nightly-report -- ./report.sh --all
              singleflight exec --reuse 10m nightly-report -- ./report.sh
              singleflight exec --takeover --wait 5m rebuild-index -- make index
              singleflight exec backup -- sh -c 'pg_dump shop | gzip > /backup/shop.gz'

            Exit status: that of the command (128 and the number of the signal that ended it; 127 not found, 126 cannot
            be run), or 64 usage, 69 Redis unreachable, 75 canceled or lease lost, 77 refused, 124 waited too long.
            """
    )

    @Argument(help: "What is being done: who names the same key shares one run.")
    var key: String

    @Argument(
        parsing: .postTerminator,
        help: ArgumentHelp("The command, behind --, with its arguments.", valueName: "command")
    )
    var words: [String] = []

    @Option(help: "Keys of different groups have nothing to do with each other.")
    var group = "exec"

    @Option(help: "How long a lease lasts; it is renewed while the command runs. Within that time a death is noticed.")
    var lease = DurationArgument(.seconds(10))

    @Option(help: "Wait at most so long for somebody else's run, then end with 124. (default: as long as it takes)")
    var wait: DurationArgument?

    @Option(help: "Share the result also with those who come up to so much later. All hosts should say the same.")
    var reuse = DurationArgument(.zero)

    @Flag(help: "When the process that runs the command is lost, run it here; else everybody who waits ends with 75.")
    var takeover = false

    @Option(
        help: ArgumentHelp(
            "Take over at most so many times in one run.",
            valueName: "n"
        )
    )
    var takeoverLimit = 3

    @Flag(help: "Run the command without coordination when Redis cannot be reached, instead of ending with 69.")
    var runAnyway = false

    @Option(help: "How long the command may take to end when it is told to, before it is killed.")
    var killAfter = DurationArgument(.seconds(5))

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        guard !words.isEmpty else { throw ValidationError("say what to run: exec KEY -- COMMAND") }
        try GroupName.validate(group)
        let longest = Duration.seconds(24 * 3600)
        try lease.validate("--lease", in: .milliseconds(100)...longest)
        try wait?.validate("--wait", in: .milliseconds(1)...longest * 365)
        try reuse.validate("--reuse", in: .zero...longest)
        try killAfter.validate("--kill-after", in: .zero...longest)
        guard (1...999).contains(takeoverLimit) else {
            throw ValidationError("--takeover-limit is 1 to 999, not \(takeoverLimit)")
        }
        let environment = ProcessInfo.processInfo.environment
        guard
            environment["SINGLEFLIGHT_KEY"] != key || environment["SINGLEFLIGHT_GROUP"] != group
                || environment["SINGLEFLIGHT_NAMESPACE"] != connection.resolvedNamespace(environment)
        else {
            throw ValidationError("this is part of the run of '\(SafeText.escape(key))': it would wait for itself")
        }
    }

    func run() async throws {
        let session = ExecSession(
            ExecSession.Configuration(
                key: key,
                group: group,
                namespace: connection.resolvedNamespace(),
                words: words,
                lease: lease.duration,
                patience: wait?.duration,
                reuse: reuse.duration,
                takeovers: takeover ? takeoverLimit : nil,
                runsAnyway: runAnyway,
                grace: killAfter.duration
            )
        )
        let signals = session.catchSignals()
        defer { withExtendedLifetime(signals) {} }
        let status: Int32
        do {
            // Large outputs take their time, but a lease has to last for three attempts to renew it.
            let configuration = RedisLeaseStoreConfiguration(
                namespace: connection.resolvedNamespace(),
                commandTimeout: min(max(lease.duration / 4, .milliseconds(10)), .milliseconds(2500)),
                // Next to a whole process, what an event costs is nothing.
                publishesEvents: true
            )
            status = try await RedisLeaseStore.withConnection(
                to: connection.resolvedURL(),
                configuration: configuration
            ) { store in
                try await session.run(with: store)
            }
        } catch let error as LeaseStoreError where error.isTransient && runAnyway {
            status = try await session.runUncoordinated()
        }
        throw ForeignExit(status: status)
    }
}
