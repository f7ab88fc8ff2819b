import Foundation
import SingleflightRedis
import Synchronization

/// One call of `exec`: leads and runs the command, or follows and prints what it printed elsewhere.
final class ExecSession: Sendable {
    struct Configuration: Sendable {
        var key: String
        var group: String
        var namespace: String
        var words: [String]
        var lease: Duration
        var patience: Duration?
        var reuse: Duration
        var takeovers: Int?
        var runsAnyway: Bool
        var grace: Duration
    }

    private struct State {
        var phase = ExecPhase()
        var command: GuardedCommand?
        /// Leaves the flight.
        var leave: (@Sendable () -> Void)?
        /// What the command came to here, for a leader whose result Redis could not be told of.
        var status: Int32?
        var failure: CommandFailure?
        var ignoredSignals: [Int32] = []
    }

    private let configuration: Configuration
    private let state = Mutex(State())

    init(_ configuration: Configuration) { self.configuration = configuration }

    /// Catches signals from now on, for as long as the process lives.
    func catchSignals() -> ForwardedSignals {
        let signals = ForwardedSignals { self.received($0) }
        state.withLock { $0.ignoredSignals = signals.ignored }
        return signals
    }

    // MARK: With and without Redis

    /// The exit status.
    func run(with store: some LeaseStore) async throws -> Int32 {
        let enclosing = EnclosingRuns(environment: ProcessInfo.processInfo.environment)
        let group = try makeGroup(EnclosedLeaseStore(store, enclosing: enclosing) { self.closesCircle($0) })
        let (over, overContinuation) = AsyncStream.makeStream(of: Never.self)
        let task = Task {
            await group.run(self.configuration.key) { flight -> CommandRecording in
                defer { overContinuation.finish() }
                guard flight.token != nil else { return try await self.lead(fence: nil) }
                return try await self.lead(fence: flight.fence, inside: enclosing, token: flight.token)
            }
        }
        let isLeaving = state.withLock { state in
            state.leave = { task.cancel() }
            return state.phase.departure != nil
        }
        if isLeaving { task.cancel() }
        let timer = configuration.patience.map { patience in
            store.clock.schedule(at: store.clock.now.advanced(by: patience)) { self.patienceEnded() }
        }
        let outcome = await task.value
        if let timer { store.clock.cancel(timer) }
        // A command whose result is no longer wanted was told to end: it is not left behind.
        if state.withLock({ $0.phase.hasLed }) { for await _ in over {} }
        return try status(of: outcome)
    }

    /// Runs the command although Redis cannot be asked.
    func runUncoordinated() async throws -> Int32 {
        // It is the command that ends us from here on, as where we lead.
        let recording = try await lead(fence: nil)
        return try finish(recording, isReplayed: false)
    }

    private func makeGroup(_ store: some LeaseStore) throws -> DistributedGroup<String, CommandRecording> {
        try DistributedGroup(
            configuration.group,
            store: store,
            configuration: DistributedGroupConfiguration(
                lease: .init(
                    duration: configuration.lease,
                    grace: max(configuration.lease, .seconds(10)),
                    leaderLoss: configuration.takeovers.map { .takeOver(attempts: $0) } ?? .cancel
                ),
                results: .init(
                    maximumBytes: RecordingCodec.maximumResultBytes,
                    // Followers fetch large outputs, one after the other.
                    retention: .seconds(60),
                    reuse: configuration.reuse
                ),
                // A command may take as long as it wants to; a year is no limit and can be computed with.
                limits: .init(flight: .seconds(365 * 86_400)),
                unavailable: configuration.runsAnyway ? .runLocally : .fail
            ),
            codec: RecordingCodec()
        )
    }

    // MARK: Leading

    /// Runs the command; its processes are ended when the task is canceled.
    private func lead(
        fence: (@Sendable () async throws -> Fence)?,
        inside enclosing: EnclosingRuns? = nil,
        token: LeaseToken? = nil
    ) async throws -> CommandRecording {
        let ignored: [Int32]? = state.withLock { $0.phase.lead() ? $0.ignoredSignals : nil }
        guard let ignored else { throw CancellationError() }
        defer { state.withLock { $0.phase.ended() } }

        var environment = ProcessInfo.processInfo.environment
        environment["SINGLEFLIGHT_KEY"] = configuration.key
        environment["SINGLEFLIGHT_GROUP"] = configuration.group
        environment["SINGLEFLIGHT_NAMESPACE"] = configuration.namespace
        if let enclosing, let token {
            let key = try FlightKey(group: configuration.group, bytes: Array(configuration.key.utf8))
            environment[EnclosingRuns.variable] = enclosing.value(inside: key, token: token)
        }
        environment["SINGLEFLIGHT_FENCE"] = nil
        if let fence {
            environment["SINGLEFLIGHT_FENCE"] = "\(try await fence())"
        } else {
            StandardStream.error.note("singleflight: Redis cannot be asked; running the command without coordination")
        }
        try Task.checkCancellation()

        let command: GuardedCommand
        do {
            command = try GuardedCommand(configuration.words, environment: environment, ignoredSignals: ignored)
        } catch let notRun as GuardedCommand.NotRun {
            return Self.recording(of: notRun)
        }
        let early = state.withLock { state in
            state.command = command
            return state.phase.started()
        }
        for number in early { command.signal(number) }
        let capture = await withTaskCancellationHandler {
            await command.result()
        } onCancel: {
            command.terminate(grace: configuration.grace)
        }
        state.withLock { state in
            state.command = nil
            state.status = capture.recording.status
            state.failure = capture.failure
        }
        return capture.recording
    }

    /// There is a result for everybody: who waits elsewhere learns why nothing ran, as if a shell had said it.
    private static func recording(of notRun: GuardedCommand.NotRun) -> CommandRecording {
        var recording = CommandRecording(status: notRun.status)
        let line = "singleflight: \(notRun.message)"
        recording.append(Array((line + "\n").utf8), to: .error)
        StandardStream.error.note(line)
        return recording
    }

    // MARK: Signals and patience

    private func received(_ number: Int32) {
        let effect: ExecPhase.SignalEffect =
            switch number {
            case SIGTSTP: .stops
            case SIGCONT, SIGWINCH: .informs
            default: .ends
            }
        let (action, command, leave) = state.withLock { state in
            (state.phase.signaled(number, effect), state.command, state.leave)
        }
        switch action {
        case .forward: command?.signal(number)
        case .leave: leave?()
        case .stop: kill(getpid(), SIGSTOP)
        case .none: break
        }
    }

    private func patienceEnded() {
        let leave = state.withLock { $0.phase.waitedLongEnough() ? $0.leave : nil }
        leave?()
    }

    private func closesCircle(_ path: [String]) {
        let leave = state.withLock { $0.phase.closesCircle(path) ? $0.leave : nil }
        leave?()
    }

    // MARK: Endings

    private func status(of outcome: Outcome<CommandRecording>) throws -> Int32 {
        switch outcome {
        case .complete(let completion):
            switch completion.result {
            case .success(let recording): return try finish(recording, isReplayed: completion.role != .leader)
            case .failure(let error): throw failure(error)
            }
        case .canceled(let reason):
            if let departure = state.withLock({ $0.phase.departure }) { return try status(of: departure) }
            throw CommandFailure("'\(SafeText.escape(configuration.key))' was canceled: \(reason)", status: .canceled)
        }
    }

    private func finish(_ recording: CommandRecording, isReplayed: Bool) throws -> Int32 {
        if isReplayed { try recording.replay() }
        if recording.isTruncated { StandardStream.error.note(CommandRecording.truncationNote) }
        if let failure = state.withLock({ $0.failure }) { throw failure }
        return recording.status
    }

    private func status(of departure: ExecPhase.Departure) throws -> Int32 {
        switch departure {
        case .signal(let number): return 128 + number
        case .circle(let path):
            let way = path.map { SafeText.escape($0) }.joined(separator: ", which waits for ")
            throw CommandFailure(
                "this is part of a run that '\(SafeText.escape(configuration.key))' waits for: it would wait for \(way)",
                status: .usage
            )
        case .waitedLongEnough:
            let waited = DurationText.describe(configuration.patience ?? .zero)
            throw CommandFailure(
                "'\(SafeText.escape(configuration.key))' was not done within \(waited)",
                status: .timeout
            )
        }
    }

    private func failure(_ error: any Error) -> CommandFailure {
        switch error {
        case let error as DistributedGroupError where error.code == .unavailable:
            let isRefused = (error.underlying as? LeaseStoreError)?.code == .refused
            let exit = isRefused ? ExitStatus.refused : .unavailable
            guard let status = state.withLock({ $0.status }) else {
                return CommandFailure("\(error.message); nothing was run here", status: exit)
            }
            return CommandFailure(
                "the command ended with status \(status), but Redis cannot be told: \(error.message)",
                status: exit
            )
        case let error as Cancellation:
            return CommandFailure(
                "'\(SafeText.escape(configuration.key))' was canceled: \(error)",
                status: .canceled
            )
        default:
            return CommandFailure(describing: error)
        }
    }
}
