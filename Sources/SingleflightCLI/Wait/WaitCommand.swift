import ArgumentParser
import SingleflightRedis

struct WaitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Wait for the current flight of a key and print its result.",
        discussion: HelpText.flowing(
            """
            Prints the bytes of the result as they are, JSON with a newline behind it, and of a command that `exec` runs
            what the command prints. It never leads and never takes over.

            Examples:
              singleflight wait front-page
              singleflight wait front-page --group pages --timeout 30s | jq .title
              singleflight wait nightly-report --group exec
              singleflight wait nightly-report --group exec --follow

            Exit status: 0 and the result (of `exec`: the command's own status), 1 the flight failed, 2 nobody leads the
            key, 64 usage, 69 Redis unreachable, 75 canceled, 77 refused, 124 not done in time.
            """
        )
    )

    @Argument(help: "The key.")
    var key: String

    @Option(help: "The group it belongs to, where several know such a key.")
    var group: String?

    @Option(help: "Wait at most so long. (default: as long as it takes)")
    var timeout: DurationArgument?

    @Flag(help: "Of a command that `exec` runs, print the output as it comes, from the beginning.")
    var follow = false

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if let group { try GroupName.validate(group) }
        try timeout?.validate("--timeout", in: .milliseconds(1)...Duration.seconds(365 * 86_400))
    }

    func run() async throws {
        let live = follow ? LiveOutput(of: ShellWord.quoted(key)) : nil
        let result = try await TerminationSignals.cancelling { [self] in try await self.outcome(live) }
        let show: (CommandRecording) throws -> Void = { recording in
            if let live { try live.finish(recording, isContinued: result.isOfParts) } else { try recording.replay() }
        }
        switch result.outcome {
        case .complete(let completion):
            switch completion.result {
            case .success(let payload): try print(payload, show)
            case .failure(let run as FailedRun): try replay(run.recording, show)
            case .failure(let error): throw failure(error)
            }
        case .canceled(.noFlight):
            throw CommandFailure.nobodyLeads(key)
        case .canceled(.callerCanceled):
            throw CancellationError()
        case .canceled(.waitLimitReached):
            let waited = DurationText.describe(timeout?.duration ?? .zero)
            throw CommandFailure("\(ShellWord.quoted(key)) was not done within \(waited)", status: .timeout)
        case .canceled(.storeLostFlight):
            throw CommandFailure(
                "\(ShellWord.quoted(key)) ended, and what came of it was not kept",
                status: .canceled
            )
        case .canceled(let reason):
            if let circle = EnclosingRuns.circle(reason, key: ShellWord.quoted(key)) { throw circle }
            throw CommandFailure(
                "\(ShellWord.quoted(key)) was canceled: \(reason)",
                status: .canceled
            )
        }
    }

    private func outcome(_ live: LiveOutput?) async throws -> LiveOutcome<StoredPayload> {
        // Large results take longer than the usual second.
        let configuration = RedisLeaseStoreConfiguration(
            namespace: connection.resolvedNamespace(),
            commandTimeout: .milliseconds(2500)
        )
        return try await RedisLeaseStore.withConnection(
            to: connection.resolvedURL(),
            configuration: configuration
        ) { store in
            let name = if let group { group } else { try await FlightLookup(store: store).group(of: key) }
            let run = RunKey(bytes: ByteText.bytes(key))
            let flights = try DistributedGroup<RunKey, StoredPayload>(
                name,
                store: store,
                // Whatever the group's own policy is: its processes decide what becomes of a flight whose leader is
                // lost.
                configuration: .init(
                    lease: .init(leaderLoss: .takeOver(attempts: 999)),
                    results: .init(typedFailures: FailedRun.crossing)
                ),
                codec: StoredPayloadCodec(),
                live: .init(maximumBytes: CommandRecording.liveLimit)
            )
            return await withEnclosing(EnclosingRuns.current.flights) {
                await flights.follow(run, waitingAtMost: timeout?.duration, onEvent: live?.hears)
            }
        }
    }

    private func print(_ payload: StoredPayload, _ show: (CommandRecording) throws -> Void) throws {
        guard payload.codec == RecordingCodec.identifier else {
            try StandardStream.output.write(payload.body)
            if payload.codec.hasPrefix("json/") { try StandardStream.output.write("\n") }
            return
        }
        try replay(RecordingCodec().decode(payload.body), show)
    }

    private func replay(_ recording: CommandRecording, _ show: (CommandRecording) throws -> Void) throws {
        try show(recording)
        if recording.isTruncated { ErrorLine.note(recording.truncationNote) }
        throw ForeignExit(status: recording.status)
    }

    private func failure(_ error: any Error) -> any Error {
        switch error {
        case let failure as RemoteFailure:
            let message = "\(failure.type): \(failure.message)"
            return CommandFailure("\(ShellWord.quoted(key)) failed in \(failure.leader): \(message)")
        case let error as DistributedGroupError where [.unavailable, .refused].contains(error.code):
            return error.underlying ?? error
        default:
            return CommandFailure("\(ShellWord.quoted(key)) failed: \(error)")
        }
    }
}
