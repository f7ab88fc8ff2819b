import Dispatch
import Synchronization

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A real redis-server of one's own, for the demo and the tests: empty, without persistence, in a directory that goes
/// away with it, and never alive longer than the process that started it, even when that is killed by SIGKILL.
///
/// Safe from any thread. Dropping the last reference kills the server; ``stop(grace:)`` also waits until it is gone.
package final class PrivateRedis: Sendable {
    /// What kind of server to start.
    package struct Configuration: Sendable {
        /// Where the server listens.
        package enum Listening: Sendable {
            /// On a Unix socket in its directory.
            case unixSocket
            /// On a port of 127.0.0.1.
            case tcp(Port)
            /// On both.
            case unixSocketAndTCP(Port)
        }

        /// A port of 127.0.0.1.
        package enum Port: Sendable {
            /// One that nobody uses.
            case free
            /// This one, or ``PrivateRedisError/portInUse(_:)``.
            case fixed(UInt16)
        }

        /// Where the server listens.
        package var listening: Listening
        /// Whether a port is one of ::1 as well.
        package var listensOnIPv6: Bool
        /// The default user's password; nil asks for none.
        package var password: String?
        /// ACL users, each as it stands behind `user ` in a Redis configuration file.
        package var users: [String]
        /// Further lines of the configuration file. They cannot change where the server listens and logs.
        package var extraLines: [String]
        /// Where `redis-server` is looked for, as in `PATH`; nil means this process's `PATH`.
        package var searchPath: String?
        /// Words in front of the server's command: a program that turns into the server, as `/usr/bin/env` does, and
        /// its arguments.
        package var launcher: [String]
        /// Whether it is a sentinel; it says what it watches in ``extraLines``.
        package var isSentinel: Bool

        /// Describes a server; by default one that listens on a Unix socket and asks for no password.
        package init(
            listening: Listening = .unixSocket,
            listensOnIPv6: Bool = false,
            password: String? = nil,
            users: [String] = [],
            extraLines: [String] = [],
            searchPath: String? = nil,
            launcher: [String] = [],
            isSentinel: Bool = false
        ) {
            self.listening = listening
            self.listensOnIPv6 = listensOnIPv6
            self.password = password
            self.users = users
            self.extraLines = extraLines
            self.searchPath = searchPath
            self.launcher = launcher
            self.isSentinel = isSentinel
        }
    }

    /// How long a server may take until it answers.
    private static let startLimit = Duration.seconds(5)

    private let setup: ServerSetup
    private let server: Mutex<GuardedServer>

    private init(setup: ServerSetup, server: GuardedServer) {
        self.setup = setup
        self.server = Mutex(server)
    }

    deinit {
        server.withLock { $0 }.cutLifeline()
    }

    /// Starts a server and returns when it has answered a PING.
    ///
    /// - Throws: ``PrivateRedisError``; after five seconds without an answer `didNotStart`, with the end of the log.
    package static func start(
        _ configuration: Configuration = Configuration()
    ) async throws(PrivateRedisError) -> PrivateRedis {
        let program = try findRedisServer(in: configuration.searchPath)
        var attempts = 20
        while true {
            let (setup, choseThePort) = ServerSetup.make(program: program, configuration: configuration)
            do {
                return PrivateRedis(setup: setup, server: try await launch(setup))
            } catch .portInUse(_) where choseThePort && attempts > 1 {
                attempts -= 1
            }
        }
    }

    /// Starts a server, calls `body` with it, and stops it whichever way `body` ends.
    ///
    /// - Throws: ``PrivateRedisError`` if it does not start; what `body` throws.
    package static func with<Result>(
        _ configuration: Configuration = Configuration(),
        _ body: (PrivateRedis) async throws -> Result
    ) async throws -> Result {
        let redis = try await start(configuration)
        do {
            let result = try await body(redis)
            await redis.stop()
            return result
        } catch {
            await redis.stop()
            throw error
        }
    }

    /// The Unix socket's path, if the server listens on one; the same after a restart.
    package var socketPath: String? { setup.socketPath }

    /// The port on 127.0.0.1, if the server listens on one; the same after a restart.
    package var port: UInt16? { setup.port }

    /// A `redis+unix://` URL, or `redis://` if there is no Unix socket; it carries the password.
    package var url: String { setup.url }

    /// The server's own process id; nil while it does not run.
    package var pid: Int32? { server.withLock { $0 }.pid }

    /// Ends the server by SIGTERM, after `grace` by SIGKILL, and waits until it is reaped and its directory removed.
    package func stop(grace: Duration = .seconds(3)) async {
        await server.withLock { $0 }.terminate(grace: grace)
    }

    /// Ends the server by SIGKILL, and waits until it is reaped and its directory removed.
    package func kill() async {
        await server.withLock { $0 }.killAndWait()
    }

    /// Stops the server, if it runs, and starts an empty one at the same address.
    ///
    /// - Throws: ``PrivateRedisError``. The server is down then, and may be restarted again.
    package func restart() async throws(PrivateRedisError) {
        await stop()
        let next = try await Self.launch(setup)
        server.withLock { $0 = next }
    }

    /// Freezes the server by SIGSTOP: connections stay open and nothing is answered.
    package func pause() {
        server.withLock { $0 }.send(SIGSTOP)
    }

    /// Lets a paused server go on.
    package func resume() {
        server.withLock { $0 }.send(SIGCONT)
    }

    /// Sends one command on a new connection, as the default user, and returns the raw RESP2 text of the reply, error
    /// replies included: `"+PONG\r\n"`.
    ///
    /// - Throws: ``PrivateRedisError`` if there is no reply within five seconds or the connection fails.
    @discardableResult
    package func command(_ arguments: String...) async throws(PrivateRedisError) -> String {
        try await Self.ask(setup, arguments)
    }

    /// The same, of a command whose words are a list.
    package func command(_ arguments: [String]) async throws(PrivateRedisError) -> String {
        try await Self.ask(setup, arguments)
    }

    private static func launch(_ setup: ServerSetup) async throws(PrivateRedisError) -> GuardedServer {
        let configurationFile = try setup.writeDirectory()
        let server: GuardedServer
        do {
            server = try GuardedServer(command: setup.command(reading: configurationFile), directory: setup.directory)
        } catch {
            setup.removeDirectory()
            throw error
        }
        do {
            try await server.waitUntilAcceptingConnections(atMost: startLimit)
        } catch {
            await server.killAndWait()
            let log = server.log
            if log.addressWasInUse, let port = setup.port { throw .portInUse(port) }
            throw .didNotStart(reason: error.rawValue, log: log.tail)
        }
        do {
            _ = try await ask(setup, ["PING"])
        } catch {
            await server.killAndWait()
            throw .didNotStart(reason: "no answer to PING: \(error)", log: server.log.tail)
        }
        return server
    }

    /// Asks from a thread that may block.
    private static func ask(
        _ setup: ServerSetup,
        _ arguments: [String]
    ) async throws(PrivateRedisError) -> String {
        let result = await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                let result = Result { () throws(PrivateRedisError) in
                    var socket = try RedisSocket(setup.address)
                    if let password = setup.password { _ = try socket.ask(["AUTH", password]) }
                    return try socket.ask(arguments)
                }
                continuation.resume(returning: result)
            }
        }
        return try result.get()
    }

    private static func findRedisServer(in searchPath: String?) throws(PrivateRedisError) -> String {
        let path = searchPath ?? getenv("PATH").map { String(cString: $0) } ?? ""
        for directory in path.split(separator: ":") {
            let candidate = "\(directory)/redis-server"
            if access(candidate, X_OK) == 0 { return candidate }
        }
        throw .redisServerNotFound
    }
}
