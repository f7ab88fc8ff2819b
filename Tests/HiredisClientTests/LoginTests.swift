import Foundation
import HiredisClient
import Logging
import PrivateRedis
import Synchronization
import TestSupport
import Testing

/// Credentials that are found anew at each login.
@Suite(.usesServer, .timeLimit(.minutes(4)))
struct LoginTests {
    @Test("a password file is read at each login: a rotated password counts from the next connection on")
    func file() async throws {
        let path = FileManager.default.temporaryDirectory.path + "/singleflight-password-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try "first\n".write(toFile: path, atomically: true, encoding: .utf8)
        try await withServer(.init(password: "first")) { target in
            target.credentials = RedisCredentials(passwordFile: path)
        } _: { redis, client in
            try "second\n".write(toFile: path, atomically: true, encoding: .utf8)
            _ = try await client.send(RedisCommand("CONFIG", "SET", "requirepass", "second"))
            _ = try? await client.send(RedisCommand("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"))
            try await until("the new password is used") {
                (try? await client.send(RedisCommand("PING"), timeout: .seconds(20))) == .simpleString("PONG")
            }
        }
    }

    @Test("a password file that is missing is named")
    func missingFile() async throws {
        let error = try await failure { $0.credentials = RedisCredentials(passwordFile: "/nowhere/password") }
        #expect(error.code == .misconfigured)
        #expect("\(error)".contains("/nowhere/password"))
    }

    @Test("a closure is asked at each login")
    func closure() async throws {
        let tally = Mutex(0)
        try await withServer(.init(password: "pw")) { target in
            target.credentials = RedisCredentials {
                let count = tally.withLock { count in
                    count += 1
                    return count
                }
                // The first login fails.
                return .init(password: count == 1 ? "wrong" : "pw")
            }
        } _: { _, client in
            let pong = try await client.send(RedisCommand("PING"))
            #expect(pong == .simpleString("PONG"))
            #expect(tally.withLock { $0 } > 1)
        }
    }

    @Test("a closure that throws, or never returns, fails the attempt, and the error says so")
    func failingClosure() async throws {
        struct NoVault: Error {}
        let thrown = try await failure { $0.credentials = RedisCredentials { throw NoVault() } }
        #expect("\(thrown)".contains("no credentials: NoVault"))
        let gate = Gate()
        let silent = try await failure(within: .milliseconds(200)) {
            $0.credentials = RedisCredentials {
                await gate.wait()
                return .init(password: "late")
            }
        }
        #expect("\(silent)".contains("no credentials in time"))
        gate.open()
    }

    /// - Parameter limit: long enough for a busy machine, where an attempt is not to fail for its time.
    private func failure(
        within limit: Duration = .seconds(20),
        of change: (inout RedisTarget) -> Void
    ) async throws -> RedisClientError {
        var target = RedisTarget(.server(.tcp(host: "127.0.0.1", port: 1)))
        change(&target)
        var configuration = RedisClientConfiguration(target)
        configuration.connectTimeout = limit
        let client = RedisClient(configuration: configuration, logger: Logger(label: "test"))
        client.start()
        try await until("an attempt has failed") { client.lastError != nil }
        let error = try #require(client.lastError)
        await client.shutdown()
        return error
    }

    private func withServer(
        _ server: PrivateRedis.Configuration,
        _ change: (inout RedisTarget) -> Void,
        _ body: (PrivateRedis, RedisClient) async throws -> Void
    ) async throws {
        try await PrivateRedis.with(server) { redis in
            var target = try RedisTarget(redis.url)
            change(&target)
            var configuration = RedisClientConfiguration(target)
            configuration.commandTimeout = .seconds(20)
            try await withClient(configuration) { client in
                try await until("there is a connection") {
                    (try? await client.connected(within: .seconds(20))) != nil
                }
                try await body(redis, client)
            }
        }
    }
}

/// How a server is asked for its role.
@Suite(.timeLimit(.minutes(4)))
struct RoleTests {
    @Test("where ROLE is refused, INFO replication tells the role", arguments: [true, false])
    func refused(isPrimary: Bool) async throws {
        let role = "# Replication\r\nrole:\(isPrimary ? "master" : "slave")\r\n"
        try await withFakeServer { _, command in
            switch command.first {
            case "ROLE": .reply("-NOPERM this user has no permissions to run the 'role' command\r\n")
            case "INFO": .reply("$\(role.utf8.count)\r\n\(role)\r\n")
            default: nil
            }
        } _: { _, client in
            if isPrimary {
                try await client.connected(within: .seconds(20))
            } else {
                try await until("the replica is left") { client.lastError?.code == .replica }
            }
        }
    }

    @Test("where INFO is refused as well, the error names both")
    func bothRefused() async throws {
        try await withFakeServer { _, command in
            ["ROLE", "INFO"].contains(command.first) ? .reply("-NOPERM no\r\n") : nil
        } _: { _, client in
            let error = await #expect(throws: RedisClientError.self) {
                try await client.connected(within: .seconds(20))
            }
            #expect(error?.code == .authenticationFailed)
            #expect(error?.message.contains("ROLE, and INFO replication") ?? false)
        }
    }

    @Test("a server that speaks TLS on the port is told by how it answers")
    func tls() async throws {
        try await withFakeServer { _, _ in
            .replyAndClose("\u{15}\u{3}\u{3}\u{0}\u{2}\u{2}F")
        } _: { _, client in
            try await until("an attempt has failed") { client.lastError != nil }
            #expect(client.lastError?.message.contains("rediss://") ?? false)
        }
    }
}
