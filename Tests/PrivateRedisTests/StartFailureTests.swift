import PrivateRedis
import TestSupport
import Testing

@Suite("Starting a private Redis", .usesServer, .timeLimit(.minutes(4)))
struct StartFailureTests {
    @Test("without redis-server in the search path throws, and the error says how to install it")
    func missingServer() async {
        let error = await #expect(throws: PrivateRedisError.redisServerNotFound) {
            try await PrivateRedis.start(.init(searchPath: "/nonexistent:/dev"))
        }
        #expect(error?.description.contains("sudo apt-get install -y redis-server") == true)
        #expect(error?.description.contains("brew install redis") == true)
    }

    @Test("on a port that is in use throws which")
    func portInUse() async throws {
        let first = try await PrivateRedis.start(.init(listening: .tcp(.free)))
        let port = try #require(first.port)
        await #expect(throws: PrivateRedisError.portInUse(port)) {
            try await PrivateRedis.start(.init(listening: .tcp(.fixed(port))))
        }
        await first.stop()
    }

    @Test("with a configuration that the server refuses throws what the server says")
    func badConfiguration() async throws {
        let error = try await #require(throws: PrivateRedisError.self) {
            try await PrivateRedis.start(.init(extraLines: ["no-such-setting 1"]))
        }
        guard case .didNotStart(_, let log) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(log.contains("no-such-setting"))
    }
}
