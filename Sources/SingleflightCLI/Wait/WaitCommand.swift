import ArgumentParser
import SingleflightRedis

struct WaitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Wait for the current flight of a key and print its result.",
        discussion: """
            Prints the bytes of the result as they are, JSON with a newline behind it, and of a command that `exec` runs
            what the command prints. It never leads and never takes over.

            Examples:
              singleflight wait front-page
              singleflight wait front-page --group pages --timeout 30s | jq .title
              singleflight wait nightly-report --group exec

            Exit status: 0 and the result (of `exec`: the command's own status), 1 the flight failed, 2 nobody leads the
            key, 64 usage, 69 Redis unreachable, 75 canceled, 77 refused, 124 not done in time.
            """
    )

    @Argument(help: "The key.")
    var key: String

    @Option(help: "The group it belongs to, where several know such a key.")
    var group: String?

    @Option(help: "Wait at most so long. (default: as long as it takes)")
    var timeout: DurationArgument?

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if let group { try GroupName.validate(group) }
        try timeout?.validate("--timeout", in: .milliseconds(1)...Duration.seconds(365 * 86_400))
    }

    func run() async throws {
        switch try await TerminationSignals.cancelling({ [self] in try await self.outcome() }) {
        case .complete(let completion):
            switch completion.result {
            case .success(let payload): try print(payload)
            case .failure(let error): throw failure(error)
            }
        case .canceled(.noFlight):
            throw CommandFailure.nobodyLeads(key)
        case .canceled(.callerCanceled):
            throw CancellationError()
        case .canceled(.waitLimitReached):
            let waited = DurationText.describe(timeout?.duration ?? .zero)
            throw CommandFailure("'\(SafeText.escape(key))' was not done within \(waited)", status: .timeout)
        case .canceled(.storeLostFlight):
            throw CommandFailure(
                "'\(SafeText.escape(key))' ended, and what came of it was not kept",
                status: .canceled
            )
        case .canceled(let reason):
            throw CommandFailure(
                "'\(SafeText.escape(key))' was canceled: \(SafeText.escape("\(reason)"))",
                status: .canceled
            )
        }
    }

    private func outcome() async throws -> Outcome<StoredPayload> {
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
            let flights = try DistributedGroup<String, StoredPayload>(
                name,
                store: store,
                // Whatever the group's own policy is: its processes decide what becomes of a flight whose leader is lost.
                configuration: .init(lease: .init(leaderLoss: .takeOver(attempts: 999))),
                codec: StoredPayloadCodec()
            )
            return await flights.follow(key, waitingAtMost: timeout?.duration)
        }
    }

    private func print(_ payload: StoredPayload) throws {
        guard payload.codec == RecordingCodec.identifier else {
            try StandardStream.output.write(payload.body)
            if payload.codec.hasPrefix("json/") { try StandardStream.output.write("\n") }
            return
        }
        let recording = try RecordingCodec().decode(payload.body)
        try recording.replay()
        if recording.isTruncated { StandardStream.error.note(CommandRecording.truncationNote) }
        throw ForeignExit(status: recording.status)
    }

    private func failure(_ error: any Error) -> any Error {
        switch error {
        case let failure as RemoteFailure:
            let (leader, message) = (SafeText.escape(failure.leader), "\(failure.type): \(failure.message)")
            return CommandFailure("'\(SafeText.escape(key))' failed in \(leader): \(SafeText.escape(message))")
        case let error as DistributedGroupError where error.code == .unavailable:
            return error.underlying ?? error
        default:
            return CommandFailure("'\(SafeText.escape(key))' failed: \(SafeText.escape("\(error)"))")
        }
    }
}
