import Foundation
import HiredisClient
import Logging
import Synchronization

/// A redis-server of a test's own, on a Unix socket in a temporary folder.
final class TestServer: Sendable {
    private let folder: URL
    private let arguments: [String]
    private let process = Mutex<Process?>(nil)

    init(_ arguments: [String] = []) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "sf-\(UInt32.random(in: 0 ... .max))")
        self.arguments = arguments
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try launch()
    }

    var socket: String { folder.appending(path: "redis.sock").path }

    var url: RedisURL { RedisURL(endpoint: .unixSocket(path: socket)) }

    func launch() throws {
        let launched = Process()
        launched.executableURL = URL(filePath: "/usr/bin/env")
        launched.currentDirectoryURL = folder
        launched.arguments =
            ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"] + arguments
        launched.standardOutput = FileHandle.nullDevice
        launched.standardError = FileHandle.nullDevice
        try launched.run()
        process.withLock { $0 = launched }
    }

    /// Ends the server as a power cut would, and waits for the end.
    func kill() {
        guard let running = process.withLock({ $0.take() }) else { return }
        Foundation.kill(running.processIdentifier, SIGKILL)
        running.waitUntilExit()
    }

    func remove() {
        kill()
        try? FileManager.default.removeItem(at: folder)
    }
}

/// Starts a server, connects a client to it, and ends both.
func withServer(
    _ arguments: [String] = [],
    configure: (inout RedisClientConfiguration) -> Void = { _ in },
    _ body: (TestServer, RedisClient) async throws -> Void
) async throws {
    let server = try TestServer(arguments)
    defer { server.remove() }
    var configuration = RedisClientConfiguration(url: server.url)
    configuration.commandTimeout = .seconds(20)
    configure(&configuration)
    try await withClient(configuration) { client in
        try await client.connected(within: .seconds(20))
        try await body(server, client)
    }
}

/// Starts a client and shuts it down.
func withClient(_ configuration: RedisClientConfiguration, _ body: (RedisClient) async throws -> Void) async throws {
    let client = RedisClient(configuration: configuration, logger: Logger(label: "test"))
    client.start()
    do {
        try await body(client)
    } catch {
        await client.shutdown()
        throw error
    }
    await client.shutdown()
}
