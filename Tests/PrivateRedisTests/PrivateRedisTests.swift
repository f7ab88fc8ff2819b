import PrivateRedis
import TestSupport
import Testing

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

@Suite("A private Redis", .usesServer, .timeLimit(.minutes(4)))
struct PrivateRedisTests {
    @Test("that has started answers PING and runs under the process id it tells")
    func startsAndAnswers() async throws {
        let redis = try await PrivateRedis.start()
        #expect(try await redis.command("PING") == "+PONG\r\n")
        let pid = try #require(redis.pid)
        #expect(try await redis.command("INFO", "server").contains("process_id:\(pid)\r\n"))
        let socketPath = try #require(redis.socketPath)
        #expect(redis.url == "redis+unix://\(socketPath)")
        #expect(redis.port == nil)
        await redis.stop()
    }

    @Test("listens on 127.0.0.1 when asked to, on a port it found")
    func listensOnAFreePort() async throws {
        let redis = try await PrivateRedis.start(.init(listening: .tcp(.free)))
        let port = try #require(redis.port)
        #expect(redis.url == "redis://127.0.0.1:\(port)")
        #expect(redis.socketPath == nil)
        #expect(try await redis.command("CONFIG", "GET", "port").contains("\r\n\(port)\r\n"))
        await redis.stop()
    }

    @Test("keeps nothing on disk", arguments: ["save", "appendonly"])
    func doesNotPersist(parameter: String) async throws {
        let redis = try await PrivateRedis.start()
        let off = parameter == "save" ? "" : "no"
        let pair = "*2\r\n$\(parameter.utf8.count)\r\n\(parameter)\r\n$\(off.utf8.count)\r\n\(off)\r\n"
        #expect(try await redis.command("CONFIG", "GET", parameter) == pair)
        await redis.stop()
    }

    @Test("takes further configuration lines and ACL users")
    func takesConfiguration() async throws {
        let redis = try await PrivateRedis.start(
            .init(users: ["reader on >secret ~x:* -@all +get"], extraLines: ["maxmemory 12mb"])
        )
        #expect(try await redis.command("CONFIG", "GET", "maxmemory").contains("12582912"))
        #expect(try await redis.command("ACL", "DRYRUN", "reader", "GET", "x:1") == "+OK\r\n")
        #expect(try await redis.command("ACL", "DRYRUN", "reader", "SET", "x:1", "1").contains("no permissions"))
        await redis.stop()
    }

    @Test("with a password, of whatever characters, carries it in its URL and asks for it")
    func asksForThePassword() async throws {
        let password = "p\" @:/\n\\é"
        let redis = try await PrivateRedis.start(.init(password: password))
        let socketPath = try #require(redis.socketPath)
        #expect(redis.url == "redis+unix://:p%22%20%40%3A%2F%0A%5C%C3%A9@\(socketPath)")
        #expect(try await redis.command("ACL", "WHOAMI") == "$7\r\ndefault\r\n")
        #expect(try await redis.command("AUTH", "wrong").hasPrefix("-WRONGPASS"))
        await redis.stop()
    }

    @Test("that was stopped leaves neither process nor directory", arguments: [true, false])
    func stopsWithoutTrace(gracefully: Bool) async throws {
        let redis = try await PrivateRedis.start()
        let pid = try #require(redis.pid)
        let directory = try directory(of: redis)
        #expect(exists(directory))
        if gracefully { await redis.stop() } else { await redis.kill() }
        #expect(!isAlive(pid))
        #expect(!exists(directory))
        #expect(redis.pid == nil)
    }

    @Test("that ends by itself is reaped, and its directory removed")
    func endsByItself() async throws {
        let redis = try await PrivateRedis.start()
        let pid = try #require(redis.pid)
        let directory = try directory(of: redis)
        await #expect(throws: PrivateRedisError.connectionClosed) {
            try await redis.command("SHUTDOWN", "NOSAVE")
        }
        await redis.stop()
        #expect(!isAlive(pid))
        #expect(!exists(directory))
    }

    @Test("that does not react to SIGTERM is killed after the grace")
    func isKilledAfterTheGrace() async throws {
        let redis = try await PrivateRedis.start()
        let pid = try #require(redis.pid)
        redis.pause()
        await redis.stop(grace: .milliseconds(20))
        #expect(!isAlive(pid))
    }

    @Test("restarts empty, at the same address, as another process")
    func restartsAtTheSameAddress() async throws {
        let redis = try await PrivateRedis.start(.init(listening: .unixSocketAndTCP(.free)))
        let (before, pid) = (redis.url, redis.pid)
        let port = try #require(redis.port)
        try await redis.command("SET", "key", "value")
        try await redis.restart()
        #expect(try await redis.command("GET", "key") == "$-1\r\n")
        #expect(redis.url == before)
        #expect(try await redis.command("CONFIG", "GET", "port").contains("\r\n\(port)\r\n"))
        #expect(redis.pid != pid)
        await redis.stop()
    }

    @Test("that was killed can be restarted")
    func restartsAfterAKill() async throws {
        let redis = try await PrivateRedis.start()
        await redis.kill()
        await #expect(throws: PrivateRedisError.systemCall("connect", code: ENOENT)) {
            try await redis.command("PING")
        }
        try await redis.restart()
        #expect(try await redis.command("PING") == "+PONG\r\n")
        await redis.stop()
    }

    @Test("that was paused answers what it was asked meanwhile, once it is resumed")
    func pausesAndResumes() async throws {
        let redis = try await PrivateRedis.start(.init(listening: .tcp(.free)))
        redis.pause()
        let client = try TestConnection(port: #require(redis.port))
        client.send("PING\r\n")
        #expect(!client.hasInput(within: 50))
        redis.resume()
        #expect(client.hasInput(within: 10_000))
        await redis.stop()
    }

    @Test("runs beside seven others")
    func eightAtOnce() async throws {
        let servers = try await withThrowingTaskGroup(of: PrivateRedis.self) { group in
            for _ in 0..<8 {
                group.addTask { try await PrivateRedis.start(.init(listening: .unixSocketAndTCP(.free))) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(Set(servers.map(\.url)).count == 8)
        #expect(Set(servers.map(\.port)).count == 8)
        for (index, server) in servers.enumerated() { try await server.command("SET", "key", "\(index)") }
        for (index, server) in servers.enumerated() {
            #expect(try await server.command("GET", "key") == "$1\r\n\(index)\r\n")
        }
        for server in servers { await server.stop() }
    }
}
