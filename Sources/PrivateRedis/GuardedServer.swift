import Dispatch
import Synchronization

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// One run of a server program that cannot outlive this process.
///
/// Between the two stands a guardian, a shell that starts the server and then waits for the end of its standard input.
/// That input is a socket, the lifeline, whose other end only this process holds: the kernel closes it however this
/// process ends, also by SIGKILL. The guardian then removes the directory, kills the server, reaps it and exits.
/// Everything the server prints goes into a second socket, which only the server keeps open, so its end tells that the
/// server is gone.
final class GuardedServer: Sendable {
    enum Failure: String, Error {
        case ended = "it ended"
        case timedOut = "it was not ready in time"
    }

    private struct Life: ~Copyable {
        /// Closing it ends the server. The guardian does not reap the server before, so as long as the lifeline is
        /// open the process id cannot belong to anybody else.
        var lifeline: Descriptor?
        var serverPID: Int32?
    }

    private let guardian: Int32
    private let life: Mutex<Life>
    private let serverLog = Mutex(ServerLog())
    private let started = OneShot<Result<Int32, Failure>>()
    private let ended = OneShot<Void>()

    /// A snapshot of what the server has printed.
    var log: ServerLog { serverLog.withLock { $0 } }

    /// The server's process id while it runs and is known.
    var pid: Int32? { life.withLock { $0.lifeline == nil ? nil : $0.serverPID } }

    /// Starts `command`; `directory` is removed when it has ended.
    init(command: [String], directory: String) throws(PrivateRedisError) {
        let lifeline = try SocketPair()
        let input = Descriptor(adopting: lifeline.ours)
        let childsInput = Descriptor(adopting: lifeline.childs)
        let log = try SocketPair()
        let output = Descriptor(adopting: log.ours)
        let childsOutput = Descriptor(adopting: log.childs)
        let nowhere = Descriptor(adopting: open("/dev/null", O_WRONLY | O_CLOEXEC))
        guard nowhere.raw >= 0 else { throw lastError("open") }
        // A fixed environment, in which messages are English.
        let plan = Spawn.Plan(
            executable: "/bin/sh",
            arguments: ["-c", Self.guardianScript, "guardian", directory] + command,
            environment: ["PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"],
            standardInput: childsInput.raw,
            standardOutput: childsOutput.raw,
            standardError: nowhere.raw
        )
        switch Spawn.start(plan) {
        case .success(let id): guardian = id
        case .failure(let failure): throw .systemCall("posix_spawn", code: failure.code)
        }
        life = Mutex(Life(lifeline: input, serverPID: nil))

        // A thread of its own, because it blocks for as long as the server lives.
        let queue = DispatchQueue(label: "private-redis.log")
        let raw = output.release()
        queue.async { self.follow(Descriptor(adopting: raw)) }
    }

    /// The directory goes first: a process that sees the server's connections close finds it removed. It goes once more
    /// when the server is gone, which may have written a file meanwhile: then it was not empty.
    private static let guardianScript = """
        trap '' PIPE
        directory=$1
        shift
        "$@" 2>&1 &
        server=$!
        echo "\(ServerLog.pidPrefix)$server"
        exec >/dev/null 2>&1
        read -r line
        rm -rf "$directory"
        kill -KILL "$server"
        wait "$server"
        rm -rf "$directory"
        """

    /// Waits until the server accepts connections, at most for `limit`.
    func waitUntilAcceptingConnections(atMost limit: Duration) async throws(Failure) {
        let deadline = Task {
            try await Task.sleep(for: limit)
            started.set(.failure(.timedOut))
        }
        defer { deadline.cancel() }
        _ = try await started.value.get()
    }

    /// Sends `signal` if the server still runs; never to another process.
    func send(_ signal: Int32) {
        life.withLock { life in
            guard life.lifeline != nil, let pid = life.serverPID else { return }
            _ = kill(pid, signal)
        }
    }

    /// Asks the server to end, kills it after `grace`, and waits until it is reaped and its directory removed.
    func terminate(grace: Duration) async {
        send(SIGTERM)
        let impatience = Task {
            try await Task.sleep(for: grace)
            cutLifeline()
        }
        defer { impatience.cancel() }
        await ended.value
    }

    /// Kills the server and waits until it is reaped and its directory removed.
    func killAndWait() async {
        cutLifeline()
        await ended.value
    }

    /// Has the guardian kill the server; idempotent.
    func cutLifeline() {
        life.withLock { $0.lifeline = nil }
    }

    private func follow(_ output: consuming Descriptor) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(output.raw, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            let log = serverLog.withLock { log in
                log.append(buffer[..<count])
                return log
            }
            guard let pid = log.serverPID else { continue }
            life.withLock { $0.serverPID = pid }
            if log.isAcceptingConnections { started.set(.success(pid)) }
        }
        cutLifeline()
        var status: Int32 = 0
        while waitpid(guardian, &status, 0) < 0, errno == EINTR {}
        started.set(.failure(.ended))
        ended.set(())
    }
}
