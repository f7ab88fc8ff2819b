import ArgumentParser
import SingleflightRedis

struct ExecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract:
            "Run a command once in the whole cluster, and give its output and status to everybody who asked for it.",
        discussion: HelpText.flowing(
            """
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
              singleflight exec --per day --follow quiet nightly-report -- ./report.sh
              singleflight exec --if-running skip sync -- ./sync.sh
              singleflight exec --takeover --wait 5m rebuild-index -- make index
              singleflight exec backup -- sh -c 'pg_dump shop | gzip > /backup/shop.gz'

            Exit status: that of the command (128 and the number of the signal that ended it; 127 not found, 126 cannot
            be run), or 64 usage, 69 Redis unreachable, 75 canceled or lease lost, 77 refused, 124 waited too long, or
            the command ran for longer than --timeout.
            """
        )
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

    @Option(help: "If the command runs already: wait for its result, skip this run, or replace: end that one first.")
    var ifRunning = ExecConfiguration.IfRunning.wait

    @Option(help: ArgumentHelp("The exit status of a run that was skipped.", valueName: "n"))
    var skipStatus: Int32 = 0

    @Option(help: "Wait at most so long for somebody else's run, then end with 124. (default: as long as it takes)")
    var wait: DurationArgument?

    @Option(help: "How long the command may run. After that it is ended, and everybody ends with 124.")
    var timeout: DurationArgument?

    @Option(help: "Share a success also with those who come up to so much later. All hosts should say the same.")
    var reuse = DurationArgument(.zero)

    @Option(help: "Share a failure, a status other than 0, also with those who come up to so much later.")
    var reuseFailures = DurationArgument(.zero)

    @Option(help: "Run once in every minute, hour, day (in UTC) or stretch such as 15m of the Redis server's time.")
    var per: SlotArgument?

    @Option(help: "Wait for a random time up to this before anything else.")
    var jitter = DurationArgument(.zero)

    @Option(
        help: "What to print of a run elsewhere: print its output at its end, live: as it comes, or quiet: nothing."
    )
    var follow = ExecConfiguration.Follow.print

    @Option(help: ArgumentHelp("How much output is shared, up to 8M; a k is 1024 bytes.", valueName: "bytes"))
    var outputLimit = ByteCount(CommandRecording.limit)

    @Option(help: ArgumentHelp("End with this status if it was longer. (default: the command's)", valueName: "n"))
    var truncatedStatus: Int32?

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

    @Flag(help: "End with 69 or 75 when Redis could not be told how the command ended, instead of with its status.")
    var requireCoordination = false

    @Option(help: "How long the command may take to end when it is told to, before it is killed.")
    var killAfter = DurationArgument(.seconds(5))

    @Flag(help: "Leave the password in the command's SINGLEFLIGHT_URL.")
    var passPassword = false

    @Flag(help: "Show the command's arguments to those who look at the lease, not only its name.")
    var showArguments = false

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        guard !words.isEmpty else { throw ValidationError("say what to run: exec KEY -- COMMAND") }
        try GroupName.validate(group)
        let longest = Duration.seconds(24 * 3600)
        try lease.validate("--lease", in: .milliseconds(100)...longest)
        try wait?.validate("--wait", in: .milliseconds(1)...longest * 365)
        try timeout?.validate("--timeout", in: .milliseconds(1)...longest * 365)
        try reuse.validate("--reuse", in: .zero...longest)
        try reuseFailures.validate("--reuse-failures", in: .zero...longest)
        try jitter.validate("--jitter", in: .zero...longest)
        try killAfter.validate("--kill-after", in: .zero...longest)
        guard (1...999).contains(takeoverLimit) else {
            throw ValidationError("--takeover-limit is 1 to 999, not \(takeoverLimit)")
        }
        for (name, status) in [("--skip-status", skipStatus), ("--truncated-status", truncatedStatus ?? 0)]
        where !(0...255).contains(status) {
            throw ValidationError("\(name) is 0 to 255, not \(status)")
        }
        guard outputLimit.bytes <= CommandRecording.limit else {
            throw ValidationError("--output-limit is at most 8M, not \(outputLimit.defaultValueDescription)")
        }
        guard per == nil || (reuse.duration == .zero && reuseFailures.duration == .zero) else {
            throw ValidationError("--per says for how long a result is shared: leave --reuse and --reuse-failures out")
        }
        guard !(runAnyway && requireCoordination) else {
            throw ValidationError("--run-anyway and --require-coordination exclude each other")
        }
    }

    func run() async throws {
        // One connection needs one thread.
        EventLoops.one
        let session = ExecSession(configuration())
        let signals = session.catchSignals()
        defer { withExtendedLifetime(signals) {} }
        throw ForeignExit(status: try await session.run())
    }

    private func configuration() -> ExecConfiguration {
        let words = words.map(ByteText.bytes)
        let store = RedisLeaseStoreConfiguration(
            namespace: connection.resolvedNamespace(),
            label: RunLabel.label(words, withArguments: showArguments),
            // Large outputs take their time, but a lease has to last for three attempts to renew it.
            commandTimeout: min(max(lease.duration / 4, .milliseconds(10)), .milliseconds(2500)),
            // Next to a whole process, what an event costs is nothing.
            publishesEvents: true
        )
        return ExecConfiguration(
            key: ByteText.bytes(key),
            group: group,
            words: words,
            url: connection.resolvedURL(),
            store: store,
            lease: lease.duration,
            patience: wait?.duration,
            reuse: reuse.duration,
            reuseFailures: reuseFailures.duration,
            slotLength: per?.length,
            jitter: jitter.duration,
            timeout: timeout?.duration,
            takeovers: takeover ? takeoverLimit : nil,
            ifRunning: ifRunning,
            skipStatus: skipStatus,
            follow: follow,
            outputLimit: outputLimit.bytes,
            truncatedStatus: truncatedStatus,
            runsAnyway: runAnyway,
            requiresCoordination: requireCoordination,
            passesPassword: passPassword,
            grace: killAfter.duration
        )
    }
}

extension ExecConfiguration.IfRunning: ExpressibleByArgument {}
extension ExecConfiguration.Follow: ExpressibleByArgument {}

/// How long a slot of `--per` is: a name, or a duration of 1 s to 24 h.
struct SlotArgument: ExpressibleByArgument, Hashable, Sendable {
    let length: Duration

    init?(argument: String) {
        switch argument {
        case "minute": length = .seconds(60)
        case "hour": length = .seconds(3600)
        case "day": length = .seconds(86_400)
        default:
            guard let duration = DurationArgument(argument: argument)?.duration,
                (Duration.seconds(1)...Duration.seconds(86_400)).contains(duration)
            else { return nil }
            length = duration
        }
    }
}
