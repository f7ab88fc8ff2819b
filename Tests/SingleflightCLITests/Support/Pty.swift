import Foundation
import Synchronization

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

struct PtyFailure: Error {
    var reason: String
}

/// The built command at a terminal of its own, as a user in front of a screen has it.
final class Pty: Sendable {
    private struct State {
        /// The process's side, kept open until the process has ended, so that its modes can be read even then.
        var process: Int32
        var lastModes: [tcflag_t] = []
        var output = ""
        var hasEnded = false
        var watchers: [(texts: [String], continuation: CheckedContinuation<Void, any Error>)] = []
    }

    /// How the terminal was before the process started.
    let originalModes: [tcflag_t]
    private let user: Int32
    private let id: pid_t
    private let state: Mutex<State>
    /// The process's wait status.
    private let status: Task<Int32, Never>

    /// Starts the command in a session of its own, whose terminal this is.
    init(
        _ arguments: [String],
        executable: String? = nil,
        columns: UInt16 = 80,
        rows: UInt16 = 24,
        environment: [String: String] = [:]
    ) throws {
        var (user, process): (Int32, Int32) = (-1, -1)
        var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        var name = [CChar](repeating: 0, count: 128)
        guard openpty(&user, &process, nil, nil, &size) == 0, ttyname_r(process, &name, name.count) == 0 else {
            throw PtyFailure(reason: "no pseudo-terminal: \(String(cString: strerror(errno)))")
        }
        let path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // Programs that other tests start meanwhile must not keep the terminal open.
        for descriptor in [user, process] { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        self.user = user
        originalModes = Self.modes(of: process)
        state = Mutex(State(process: process))

        let inherited = ProcessInfo.processInfo.environment.filter { $0.key != "NO_COLOR" }
        // A program that crashes at a terminal asks there whether to debug it, and waits.
        let calm = ["TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "SWIFT_BACKTRACE": "enable=no"]
        let own = calm.merging(environment) { $1 }
        id = try Self.spawn(try executable ?? Tool.path, arguments, inherited.merging(own) { $1 }, terminal: path)
        let id = id
        status = Task {
            await withCheckedContinuation { continuation in
                Thread.detachNewThread {
                    var status: Int32 = 0
                    while waitpid(id, &status, 0) == -1, errno == EINTR {}
                    continuation.resume(returning: status)
                }
            }
        }
        Thread.detachNewThread { self.read() }
        Task {
            _ = await status.value
            self.closeProcessSide()
        }
    }

    deinit { close(user) }

    /// With nobody at its other side, the terminal's output comes to its end once it is read.
    private func closeProcessSide() {
        state.withLock { state in
            state.lastModes = Self.modes(of: state.process)
            close(state.process)
            state.process = -1
        }
    }

    /// Everything that was written to the terminal so far.
    var output: String { state.withLock { $0.output } }

    /// How the terminal treats what is typed and written; after the end of the process, how it did then.
    var modes: [tcflag_t] {
        state.withLock { $0.process < 0 ? $0.lastModes : Self.modes(of: $0.process) }
    }

    private static func modes(of terminal: Int32) -> [tcflag_t] {
        var attributes = termios()
        tcgetattr(terminal, &attributes)
        return [attributes.c_iflag, attributes.c_oflag, attributes.c_cflag, attributes.c_lflag]
    }

    /// Waits until all of `texts` were written; a process that ends without that is a failure.
    func until(_ texts: String...) async throws {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome: Result<Void, any Error>? = state.withLock { state in
                    if texts.allSatisfy(state.output.contains) { return .success(()) }
                    if state.hasEnded || Task.isCancelled { return .failure(PtyFailure(reason: state.output)) }
                    state.watchers.append((texts, continuation))
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            self.disappoint()
        }
    }

    /// Forgets what was written, so that only news count.
    func forget() { state.withLock { $0.output = "" } }

    func type(_ text: String) {
        let bytes = Array(text.utf8)
        _ = write(user, bytes, bytes.count)
    }

    /// The kernel tells the process by SIGWINCH.
    func resize(columns: UInt16, rows: UInt16) {
        var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        _ = ioctl(user, UInt(TIOCSWINSZ), &size)
    }

    func signal(_ number: Int32) { kill(id, number) }

    /// The exit status, once everything that was written is read; 128 and the signal for a process that a signal ended.
    func exit() async -> Int32 {
        let status = await withTaskCancellationHandler {
            await self.status.value
        } onCancel: {
            self.signal(SIGKILL)
        }
        // A text that is never written: what ends the wait is the end.
        _ = try? await until("\u{0}")
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var pending: [UInt8] = []
        while true {
            let count = systemRead(user, &buffer)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return end() }
            pending += buffer.prefix(count)
            // A character may be cut in two.
            guard let text = String(validating: pending, as: UTF8.self) else { continue }
            pending = []
            let reached = state.withLock { state in
                state.output += text
                let reached = state.watchers.filter { $0.texts.allSatisfy(state.output.contains) }
                state.watchers = state.watchers.filter { !$0.texts.allSatisfy(state.output.contains) }
                return reached
            }
            for watcher in reached { watcher.continuation.resume() }
        }
    }

    private func end() {
        state.withLock { $0.hasEnded = true }
        disappoint()
    }

    /// Ends every wait for text, in vain.
    private func disappoint() {
        let (watchers, output) = state.withLock { state in
            defer { state.watchers = [] }
            return (state.watchers, state.output)
        }
        for watcher in watchers { watcher.continuation.resume(throwing: PtyFailure(reason: output)) }
    }

    private static func spawn(
        _ executable: String,
        _ arguments: [String],
        _ environment: [String: String],
        terminal: String
    ) throws -> pid_t {
        #if canImport(Darwin)
            var actions: posix_spawn_file_actions_t?
            var attributes: posix_spawnattr_t?
        #else
            var actions = posix_spawn_file_actions_t()
            var attributes = posix_spawnattr_t()
        #endif
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // The first terminal that the leader of a session opens becomes the session's.
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, terminal, O_RDWR, 0)
        posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDERR_FILENO)
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // What the tests were started with, in the background or under nohup, is not for the process.
        var (all, none) = (sigset_t(), sigset_t())
        sigfillset(&all)
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setsigmask(&attributes, &none)
        let flags = Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK)
        #if canImport(Darwin)
            posix_spawnattr_setflags(&attributes, Int16(flags | Int32(POSIX_SPAWN_SETSID)))
        #else
            // POSIX_SPAWN_SETSID, a GNU extension that Swift does not see.
            posix_spawnattr_setflags(&attributes, Int16(flags | 0x80))
        #endif
        var words: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { (words + variables).forEach { free($0) } }
        var id: pid_t = 0
        guard posix_spawn(&id, executable, &actions, &attributes, &words, &variables) == 0 else {
            throw PtyFailure(reason: "cannot start \(executable)")
        }
        return id
    }
}

private func systemRead(_ descriptor: Int32, _ buffer: inout [UInt8]) -> Int {
    buffer.withUnsafeMutableBytes { bytes in
        #if canImport(Darwin)
            Darwin.read(descriptor, bytes.baseAddress, bytes.count)
        #else
            Glibc.read(descriptor, bytes.baseAddress, bytes.count)
        #endif
    }
}
