import Foundation
import NIOCore
import NIOPosix
import SingleflightRedis
import Synchronization

/// One call of `exec`: leads and runs the command, or follows and prints what it printed elsewhere.
final class ExecSession: Sendable {
    private struct State {
        var phase = ExecPhase()
        var command: GuardedCommand?
        /// Leaves the flight, or gives up connecting.
        var leave: (@Sendable () -> Void)?
        /// What the command came to here, where it ended by itself: for a leader whose result Redis could not be told
        /// of.
        var status: Int32?
        var failure: CommandFailure?
        /// What to record of the run, when there was one.
        var record: RunRecord?
    }

    private let configuration: ExecConfiguration
    private let state = Mutex(State())

    init(_ configuration: ExecConfiguration) { self.configuration = configuration }

    /// Catches signals from now on, for as long as the value is kept.
    func catchSignals() -> CaughtSignals {
        CaughtSignals([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT, SIGUSR1, SIGUSR2, SIGWINCH]) {
            self.received($0)
        }
    }

    /// The exit status.
    func run() async throws -> Int32 {
        let task = Task { try await self.attempt() }
        let isLeaving = state.withLock { state in
            state.leave = { task.cancel() }
            return state.phase.departure != nil
        }
        if isLeaving { task.cancel() }
        do {
            return try await task.value
        } catch {
            // What a step says of having been canceled is of no interest.
            if let departure = state.withLock({ $0.phase.departure }) { return try status(of: departure) }
            throw error
        }
    }

    // MARK: With and without Redis

    private func attempt() async throws -> Int32 {
        if configuration.jitter > .zero {
            try await Task.sleep(for: configuration.jitter * Double.random(in: 0...1))
        }
        do {
            return try await RedisLeaseStore.withConnection(
                to: configuration.url,
                configuration: configuration.store
            ) { store -> Int32 in
                try await self.recording(on: store) { try await self.run(with: store) }
            }
        } catch let error as LeaseStoreError where error.isTransient && configuration.runsAnyway {
            return try await runUncoordinated()
        }
    }

    private func run(with store: RedisLeaseStore) async throws -> Int32 {
        var slot: RunSlot?
        if let length = configuration.slotLength { slot = RunSlot(length: length, at: try await store.time()) }
        let key = RunKey(bytes: configuration.key + (slot.map { Array("@\($0.name)".utf8) } ?? []))
        let flightKey = try FlightKey(group: configuration.group, bytes: key.bytes)
        try await EnclosingRuns.current.checkFollowing(flightKey, named: configuration.shownKey, on: store)
        let group = try configuration.group(on: store, slot: slot)
        let timer = configuration.patience.map { patience in
            store.clock.schedule(at: store.clock.now.advanced(by: patience)) { self.patienceEnded() }
        }
        defer { if let timer { store.clock.cancel(timer) } }
        let telling = Task { try await self.tellWhoLeads(flightKey, store) }
        defer { telling.cancel() }

        switch configuration.ifRunning {
        case .wait: break
        case .skip: return try await runUnlessRunning(key, flightKey, group, store)
        case .replace: try await endRunning(flightKey, store)
        }
        let (over, overContinuation) = AsyncStream.makeStream(of: Never.self)
        let live =
            configuration.follow == .live
            ? LiveOutput(of: configuration.shownKey) { self.state.withLock { $0.phase.hasLed } } : nil
        let result = await withEnclosing(EnclosingRuns.current.flights) {
            await group.run(key, onEvent: live?.hears) { flight, parts -> CommandRecording in
                defer { overContinuation.finish() }
                guard self.begins() else { throw CancellationError() }
                live?.beginsAnew()
                return try await self.lead(flightKey, token: flight.token, fence: flight.fence) { bytes, stream in
                    parts.write(LiveOutput.part(bytes, of: stream))
                }
            }
        }
        // A command whose result is no longer wanted was told to end: it is not left behind.
        if state.withLock({ $0.phase.hasLed }) { await Task { for await _ in over {} }.value }
        return try status(of: result.outcome) { recording in
            if let live {
                try live.finish(recording, isContinued: result.isOfParts)
            } else {
                try self.replay(recording)
            }
        }
    }

    /// Keeps the record of a run for `singleflight last`, if there was one here. Nothing depends on it: where it cannot
    /// be kept, the run is what it was.
    private func recording(on store: RedisLeaseStore, _ run: () async throws -> Int32) async throws -> Int32 {
        do {
            let status = try await run()
            await keepRecord(on: store)
            return status
        } catch let failure as CommandFailure where failure.status != .unavailable {
            await keepRecord(on: store, reason: failure.description)
            throw failure
        }
    }

    private func keepRecord(on store: RedisLeaseStore, reason: String? = nil) async {
        guard var record = state.withLock({ $0.record }) else { return }
        // A command that ended has a status; of one that was ended it is told why.
        if record.status == nil { record.reason = reason ?? "ended before it was done" }
        try? await store.record(record, of: configuration.recordKey())
    }

    /// Runs the command although Redis cannot be asked.
    private func runUncoordinated() async throws -> Int32 {
        // It is the command that ends us from here on, as where we lead.
        guard begins() else { throw CancellationError() }
        let key = try FlightKey(group: configuration.group, bytes: configuration.key)
        do {
            return try finish(await lead(key, token: nil, fence: nil), isReplayed: false, replay)
        } catch let run as FailedRun {
            return try finish(run.recording, isReplayed: false, replay)
        }
    }

    // MARK: A run elsewhere

    /// Runs the command, or ends at once if somebody else runs it.
    private func runUnlessRunning(
        _ key: RunKey,
        _ flightKey: FlightKey,
        _ group: DistributedGroup<RunKey, CommandRecording>,
        _ store: RedisLeaseStore
    ) async throws -> Int32 {
        switch await group.entry(key) {
        case .leader(let leader):
            guard begins() else {
                leader.cancel(reason: "the process was told to end")
                throw CancellationError()
            }
            let work = Task { try await self.lead(flightKey, token: leader.token, fence: leader.fence) }
            leader.onLost { _ in work.cancel() }
            return try status(of: await leader.perform { try await work.value })
        case .subscriber(let subscriber):
            // Without a lease there is an outcome by now: a reused one, or that of a run that has just ended.
            guard let lease = try await store.runningLease(of: flightKey) else {
                return try status(of: await subscriber.outcome())
            }
            subscriber.leave()
            // For `singleflight last`; nothing depends on it.
            try? await store.recordSkip(of: configuration.recordKey())
            if configuration.follow != .quiet {
                ErrorLine.note("\(configuration.shownKey) runs already, \(Self.describe(lease)); skipped")
            }
            return configuration.skipStatus
        }
    }

    /// Ends the run of somebody else.
    private func endRunning(_ key: FlightKey, _ store: RedisLeaseStore) async throws {
        guard let lease = try await store.runningLease(of: key) else { return }
        let request = RevokeRequest(ending: lease, of: key, reason: "replaced by another run")
        _ = try await store.answer(to: request).get()
    }

    /// Somebody who looks at a terminal that says nothing is told what for.
    private func tellWhoLeads(_ key: FlightKey, _ store: RedisLeaseStore) async throws {
        guard isatty(STDERR_FILENO) == 1, configuration.follow != .quiet else { return }
        try await Task.sleep(for: .milliseconds(300))
        guard let lease = try await store.runningLease(of: key), state.withLock({ $0.phase.isWaiting }) else { return }
        ErrorLine.note("waiting for \(configuration.shownKey), which runs \(Self.describe(lease))")
    }

    private static func describe(_ lease: LeaseInspection.Lease) -> String {
        let start = Duration.seconds(Date().timeIntervalSince1970) - lease.note.age
        return "by \(lease.note.label) since \(ClockText.time(start)) (\(DurationText.describe(lease.note.age)))"
    }

    // MARK: Leading

    /// The command is to run here; false if we have left, and nothing is to be started.
    private func begins() -> Bool { state.withLock { $0.phase.lead() } }

    /// Runs the command; its processes are ended when the task is canceled.
    ///
    /// - Parameter onOutput: told what is kept of the output, as it comes.
    /// - Throws: ``FailedRun`` if it ends with another status than 0.
    private func lead(
        _ key: FlightKey,
        token: LeaseToken?,
        fence: (@Sendable () async throws -> Fence)?,
        onOutput: @escaping OutputHandler = { _, _ in }
    ) async throws -> CommandRecording {
        defer { state.withLock { $0.phase.ended() } }
        var environment = configuration.environment(for: key, token)
        if token != nil, let fence {
            environment.set("SINGLEFLIGHT_FENCE", to: "\(try await fence())")
        } else {
            ErrorLine.note("Redis cannot be asked; running the command without coordination")
        }
        try Task.checkCancellation()
        let recording = try await record(environment, onOutput)
        guard recording.status == 0 else { throw FailedRun(recording: recording) }
        return recording
    }

    private func record(
        _ environment: EnvironmentBlock,
        _ onOutput: @escaping OutputHandler
    ) async throws -> CommandRecording {
        let empty = CommandRecording(of: configuration.command, limit: configuration.outputLimit)
        let command: GuardedCommand
        do {
            command = try GuardedCommand(
                configuration.words,
                environment: environment,
                recording: empty,
                onOutput: onOutput
            )
        } catch let notRun as NotRun {
            // There is a result for everybody: who waits elsewhere learns why nothing ran, as if a shell had said it.
            return Self.concluded(empty, status: notRun.status, saying: notRun.line)
        }
        let early = state.withLock { state in
            state.command = command
            return state.phase.started()
        }
        for number in early { command.signal(number) }
        let start = RunStart()
        let isTooLong = Atomic(false)
        let limit = configuration.timeout.map { timeout in
            MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: TimeAmount(timeout)) { [configuration] in
                guard command.terminate(grace: configuration.grace) else { return }
                isTooLong.store(true, ordering: .sequentiallyConsistent)
            }
        }
        let capture = await withTaskCancellationHandler {
            await command.result()
        } onCancel: {
            command.terminate(grace: configuration.grace)
        }
        limit?.cancel()
        state.withLock { state in
            state.command = nil
            state.failure = capture.failure
        }
        var recording = capture.recording
        if isTooLong.load(ordering: .sequentiallyConsistent), let timeout = configuration.timeout {
            let line = "\(configuration.shownKey) ran for longer than \(DurationText.describe(timeout)) and was ended"
            recording = Self.concluded(recording, status: ExitStatus.timeout.rawValue, saying: ErrorLine.text(line))
        } else if capture.wasTerminated {
            state.withLock { $0.record = start.record(by: configuration.store.label, status: nil) }
            return recording
        }
        state.withLock { [status = recording.status] state in
            state.status = status
            state.record = start.record(by: configuration.store.label, status: status)
        }
        return recording
    }

    private static func concluded(_ recording: CommandRecording, status: Int32, saying line: String) -> CommandRecording
    {
        var recording = recording
        recording.status = status
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

    // MARK: Endings

    /// - Parameter show: prints the output of a run elsewhere.
    private func status(
        of outcome: Outcome<CommandRecording>,
        showing show: ((CommandRecording) throws -> Void)? = nil
    ) throws -> Int32 {
        let show = show ?? replay
        switch outcome {
        case .complete(let completion):
            let isReplayed = completion.role != .leader
            switch completion.result {
            case .success(let recording): return try finish(recording, isReplayed: isReplayed, show)
            case .failure(let run as FailedRun): return try finish(run.recording, isReplayed: isReplayed, show)
            case .failure(let error): return try untold(error) { self.failure(error) }
            }
        case .canceled(let reason):
            if let departure = state.withLock({ $0.phase.departure }) { return try status(of: departure) }
            if let circle = EnclosingRuns.circle(reason, key: configuration.shownKey) { throw circle }
            let canceled = CommandFailure("\(configuration.shownKey) was canceled: \(reason)", status: .canceled)
            guard [.leaseExpired, .leaseLost].contains(reason.code) else { throw canceled }
            return try untold(reason) { canceled }
        }
    }

    private func replay(_ recording: CommandRecording) throws {
        if configuration.follow != .quiet { try recording.replay() }
    }

    private func finish(
        _ recording: CommandRecording,
        isReplayed: Bool,
        _ show: (CommandRecording) throws -> Void
    ) throws -> Int32 {
        if isReplayed {
            try show(recording)
            if recording.command != configuration.command {
                let (ran, asked) = (recording.command.shownName, configuration.command.shownName)
                let whose = ran == asked ? "\(ran) with other arguments" : "another command, \(ran)"
                ErrorLine.note(
                    "\(configuration.shownKey) was the run of \(whose); the one of this call, \(asked), did not run"
                )
            }
        }
        if recording.isTruncated {
            if !isReplayed || configuration.follow != .quiet { ErrorLine.note(recording.truncationNote) }
            if let status = configuration.truncatedStatus { return status }
        }
        if let failure = state.withLock({ $0.failure }) { throw failure }
        return recording.status
    }

    private func status(of departure: ExecPhase.Departure) throws -> Int32 {
        switch departure {
        case .signal(let number): return 128 + number
        case .waitedLongEnough:
            let waited = DurationText.describe(configuration.patience ?? .zero)
            throw CommandFailure("\(configuration.shownKey) was not done within \(waited)", status: .timeout)
        }
    }

    /// A command that ended by itself has a status, even where Redis could not be told of it.
    private func untold(_ reason: any Error, _ failure: () -> CommandFailure) throws -> Int32 {
        guard let status = state.withLock({ $0.status }), !configuration.requiresCoordination else { throw failure() }
        ErrorLine.note(
            "warning: the command ended with status \(status), but Redis cannot be told: \(Self.message(reason)); "
                + "it may be run again"
        )
        return status
    }

    private static func message(_ error: any Error) -> String {
        (error as? DistributedGroupError)?.message ?? "\(error)"
    }

    private func failure(_ error: any Error) -> CommandFailure {
        switch error {
        case let error as DistributedGroupError where [.unavailable, .refused].contains(error.code):
            let exit = error.code == .refused ? ExitStatus.refused : .unavailable
            guard let status = state.withLock({ $0.status }) else {
                return CommandFailure("\(error.message); nothing was run here", status: exit)
            }
            return CommandFailure(
                "the command ended with status \(status), but Redis cannot be told: \(error.message)",
                status: exit
            )
        case let error as Cancellation:
            return CommandFailure("\(configuration.shownKey) was canceled: \(error)", status: .canceled)
        default:
            return CommandFailure(describing: error)
        }
    }
}
