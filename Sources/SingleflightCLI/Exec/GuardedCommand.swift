import Foundation
import NIOCore
import NIOPosix
import PrivateRedis
import Synchronization

/// A command in a process group of its own, which ends with us at the latest.
final class GuardedCommand: Sendable {
    private enum State {
        case running
        /// It was told to end, and is killed when the timer fires.
        case terminating(Scheduled<Void>)
        case ended
    }

    private let guardian: Guardian
    private let child: Reaper
    private let pump: OutputPump
    private let terminal: ControllingTerminal?
    private let state = Mutex(State.running)

    /// Starts `words`, a program and its arguments, with our standard input and with everything else that we were
    /// given: signals that are ignored or blocked, descriptors, limits.
    ///
    /// - Parameters:
    ///   - recording: what to add the output to.
    ///   - onOutput: told what is kept of it, as it comes.
    /// - Throws: ``NotRun``; ``CommandFailure`` or `PrivateRedisError` if the system does not let us start anything.
    init(
        _ words: [[UInt8]],
        environment: EnvironmentBlock,
        recording: CommandRecording,
        onOutput: @escaping OutputHandler = { _, _ in }
    ) throws {
        let inherited = InheritedState.current
        let pump = try OutputPump(recording, onOutput: onOutput)
        let guardian: Guardian
        do {
            guardian = try Guardian()
        } catch {
            pump.discard()
            throw error
        }
        let terminal = ControllingTerminal()
        let started = Self.start(words, environment, inherited) { plan in
            plan.standardOutput = pump.output.writing
            plan.standardError = pump.error.writing
            plan.group = guardian.group
        }
        switch started {
        case .success(let id):
            terminal?.lend(to: guardian.group)
            // It may have been stopped for reading before.
            if terminal != nil { guardian.signal(SIGCONT) }
            child = Reaper(id: id) { Self.stopped(by: $0, guardian, terminal) }
        case .failure(let failure):
            pump.discard()
            Task { await guardian.dismiss() }
            switch failure.code {
            case EAGAIN, ENOMEM, EMFILE, ENFILE:
                throw CommandFailure("cannot run \(ByteText.text(words[0])): \(failure)")
            default: throw NotRun(failure, words[0])
            }
        }
        (self.pump, self.guardian, self.terminal) = (pump, guardian, terminal)
    }

    private static func start(
        _ words: [[UInt8]],
        _ environment: EnvironmentBlock,
        _ inherited: InheritedState,
        _ complete: (inout Spawn.Plan) -> Void
    ) -> Result<Int32, Spawn.Failure> {
        inherited.closeOwnDescriptorsOnExec()
        func start(_ path: [UInt8], _ words: [[UInt8]]) -> Result<Int32, Spawn.Failure> {
            var plan = Spawn.Plan(executable: path, words: words, environment: environment.entries)
            plan.ignoredSignals = Array(inherited.ignoredSignals)
            plan.blockedSignals = Array(inherited.blockedSignals)
            plan.keptDescriptors = Array(inherited.descriptors)
            complete(&plan)
            return inherited.withNiceness { Spawn.start(plan) }
        }
        // A child ignores what we do; some of it we cannot.
        let missing = inherited.ignoredSignals.filter { !SignalDisposition.isIgnored($0) }
        if !missing.isEmpty, let launcher = try? Launcher.path(),
            case .success(let id) = start(launcher, Launcher.words(for: words, ignoring: missing))
        {
            return .success(id)
        }
        return CommandSearch.run(words, path: environment["PATH"], start: start)
    }

    /// Waits until it is over: its process has ended, and its output was read.
    ///
    /// What it left running in the background is neither waited for nor ended, unless the command was told to end.
    /// To be called once; deaf to cancellation.
    func result() async -> OutputPump.Capture {
        async let captured = pump.capture()
        let exit = await child.exit()
        if !isTerminating { pump.drain() }
        var capture = await captured
        switch exit {
        case .code(let code): capture.recording.status = code
        case .signal(let number): capture.recording.status = 128 + number
        }
        let killing: Scheduled<Void>? = state.withLock { state in
            defer { state = .ended }
            if case .terminating(let killing) = state { return killing }
            return nil
        }
        if let killing {
            capture.wasTerminated = true
            killing.cancel()
            // A process that has closed the output and stayed had the same time to end.
            guardian.signal(SIGKILL)
        }
        terminal?.takeBack()
        await guardian.dismiss()
        return capture
    }

    /// Sends the signal `number` to all processes of the command.
    func signal(_ number: Int32) {
        // If the shell continues us in the foreground, the command goes on there, too.
        if number == SIGCONT { terminal?.lend(to: guardian.group) }
        if !guardian.signal(number) { _ = child.signal(number) }
    }

    /// Has all processes of the command end: by SIGTERM, and after `grace` by SIGKILL. False if they were told before,
    /// or have ended.
    @discardableResult
    func terminate(grace: Duration) -> Bool {
        let isFirst = state.withLock { state in
            guard case .running = state else { return false }
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            state = .terminating(loop.scheduleTask(in: TimeAmount(grace)) { self.kill() })
            return true
        }
        if isFirst {
            signal(SIGTERM)
            signal(SIGCONT)
        }
        return isFirst
    }

    private func kill() {
        signal(SIGKILL)
        pump.stop()
    }

    private var isTerminating: Bool {
        state.withLock { if case .terminating = $0 { true } else { false } }
    }

    /// Ctrl-Z stops us together with the command. The SIGCONT that continues us is handed on like any other signal:
    /// this thread may run on for a moment after it has stopped the process, and is no place to do that.
    private static func stopped(by number: Int32, _ guardian: Guardian, _ terminal: ControllingTerminal?) {
        guard [SIGTSTP, SIGTTIN, SIGTTOU].contains(number) else { return }
        guard let terminal else {
            Foundation.kill(getpid(), SIGSTOP)
            return
        }
        if number != SIGTSTP, terminal.isLent(to: guardian.group) {
            // It wanted the terminal a moment before it was lent.
            guardian.signal(SIGCONT)
            return
        }
        terminal.takeBack()
        // The whole job, as the terminal itself would.
        Foundation.kill(0, SIGSTOP)
    }
}
