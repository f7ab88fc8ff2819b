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

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if let group { try GroupName.validate(group) }
        try timeout?.validate("--timeout", in: .milliseconds(1)...Duration.seconds(365 * 86_400))
    }

    func run() async throws {
        let outcome = try await TerminationSignals.cancelling { [self] in try await self.outcome() }
        switch outcome {
        case .value(RecordingCodec.identifier, _, let body):
            let recording = try RecordingCodec().decode(body)
            try recording.replay()
            if recording.isTruncated { ErrorLine.note(recording.truncationNote) }
            throw ForeignExit(status: recording.status)
        case .value(let codec, _, let body):
            try StandardStream.output.write(body)
            if codec.hasPrefix("json/") { try StandardStream.output.write("\n") }
        case .failure(let message, let leader, _):
            throw CommandFailure("\(ShellWord.quoted(key)) failed in \(leader): \(message)")
        case .canceled(let reason):
            throw CommandFailure("\(ShellWord.quoted(key)) was canceled: \(reason.text)", status: .canceled)
        }
    }

    private func outcome() async throws -> OpenedOutcome {
        // Large results take longer than the usual second.
        let configuration = RedisLeaseStoreConfiguration(
            namespace: connection.resolvedNamespace(),
            commandTimeout: .milliseconds(2500)
        )
        return try await RedisLeaseStore.withConnection(
            to: connection.resolvedURL(),
            configuration: configuration
        ) { store in
            let found = try await FlightLookup(store: store).flight(of: key, in: group)
            try EnclosingRuns.current.checkFollowing(found.lease.token, key: ShellWord.quoted(key))
            let watch = FlightWatch(store: store, key: found.key)
            switch try await watch.ending(of: found.lease, atMost: timeout?.duration) {
            case .outcome(let outcome): return try OpenedOutcome(outcome).failedRunAsValue
            case .expired: return .canceled(.leaseExpired)
            case .gone:
                throw CommandFailure(
                    "\(ShellWord.quoted(key)) ended, and what came of it was not kept",
                    status: .canceled
                )
            case .timedOut:
                let waited = DurationText.describe(timeout?.duration ?? .zero)
                throw CommandFailure("\(ShellWord.quoted(key)) was not done within \(waited)", status: .timeout)
            }
        }
    }
}

extension CanceledFlight {
    /// For people, on one line.
    fileprivate var text: String {
        switch self {
        case .leaseExpired: "the leader's lease expired"
        case .supersededTooOften: "the leader was lost too often"
        case .leaderShutDown: "the leader shut down"
        case .leaderLeft: "the leader left"
        case .revoked(let by, let reason):
            "revoked by \(by)" + (reason.isEmpty ? "" : ": \(reason)")
        }
    }
}
