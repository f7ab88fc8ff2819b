import PrivateRedis
import TestSupport
import Testing

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

@Suite("A private Redis whose owner goes away", .usesServer, .timeLimit(.minutes(4)))
struct OrphanTests {
    @Test("ends, although its owner's process was killed by SIGKILL")
    func endsWithAKilledProcess() async throws {
        let result = await #expect(processExitsWith: .signal(SIGKILL), observing: [\.standardOutputContent]) {
            let redis = try await PrivateRedis.start(.init(listening: .unixSocketAndTCP(.free)))
            let report = try "server \(#require(redis.port)) \(directory(of: redis))\n"
            _ = report.withCString { write(1, $0, strlen($0)) }
            kill(getpid(), SIGKILL)
        }
        let output = String(decoding: try #require(result).standardOutputContent, as: UTF8.self)
        let report = try #require(output.split(separator: "\n").first { $0.hasPrefix("server ") }).split(separator: " ")
        try expectGone(port: #require(UInt16(report[1])), directory: String(report[2]))
    }

    @Test("ends when the last reference is dropped")
    func endsWithItsLastReference() async throws {
        var redis: PrivateRedis? = try await PrivateRedis.start(.init(listening: .unixSocketAndTCP(.free)))
        let port = try #require(redis?.port)
        let directory = try directory(of: #require(redis))
        redis = nil
        try expectGone(port: port, directory: directory)
    }

    /// The guardian removes the directory, then kills the server; a connection tells when that has happened.
    private func expectGone(port: UInt16, directory: String) throws {
        if let connection = try? TestConnection(port: port) { #expect(connection.isClosedByPeer(within: 10_000)) }
        #expect(!exists(directory))
    }
}
