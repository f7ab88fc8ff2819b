import Logging
import NIOCore
import PrivateRedis
import TestSupport
import Testing

@testable import HiredisClient

/// When a server counts as out of reach, as a value.
@Suite struct OutageTests {
    private static func time(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(0) + .milliseconds(milliseconds)
    }

    private static func make() -> Outage { Outage(patience: .milliseconds(100)) }

    @Test("it counts once there has been no connection for long, and not before")
    func begins() {
        var outage = Self.make()
        #expect(!outage.isKnown(now: Self.time(1_000)))
        #expect(outage.beginsAt == nil)
        outage.lacksConnection(since: Self.time(1_000))
        #expect(!outage.isKnown(now: Self.time(1_099)))
        #expect(outage.isKnown(now: Self.time(1_100)))
        #expect(outage.beginsAt == Self.time(1_100))
    }

    @Test("attempts that fail do not put it off")
    func failedAttempts() {
        var outage = Self.make()
        for milliseconds in stride(from: Int64(1_000), through: 1_090, by: 10) {
            outage.lacksConnection(since: Self.time(milliseconds))
        }
        #expect(outage.beginsAt == Self.time(1_100))
    }

    @Test("silence before the connection was lost counts")
    func silence() {
        var outage = Self.make()
        outage.lacksConnection(since: Self.time(1_000))
        outage.lacksConnection(since: Self.time(900))
        #expect(outage.isKnown(now: Self.time(1_000)))
    }

    @Test("it ends with a connection, and the next one is counted anew")
    func ends() {
        var outage = Self.make()
        outage.lacksConnection(since: Self.time(0))
        outage.connected()
        #expect(!outage.isKnown(now: Self.time(5_000)))
        outage.lacksConnection(since: Self.time(5_000))
        #expect(outage.beginsAt == Self.time(5_100))
    }
}

/// What keeps a server from answering.
enum Trouble: Sendable, CaseIterable {
    case isDown, isFrozen
    /// It answers what does not write.
    case holdsWrites

    func begin(_ redis: PrivateRedis) async throws {
        switch self {
        case .isDown: await redis.kill()
        case .isFrozen: redis.pause()
        case .holdsWrites: try await redis.command("CLIENT", "PAUSE", "600000", "WRITE")
        }
    }

    func end(_ redis: PrivateRedis) async throws {
        switch self {
        case .isDown: try await redis.restart()
        case .isFrozen: redis.resume()
        case .holdsWrites: try await redis.command("CLIENT", "UNPAUSE")
        }
    }
}

/// The same, of a client whose server is down.
@Suite("A client whose server is out of reach", .usesServer, .timeLimit(.minutes(4)))
struct OutageOfServerTests {
    private static let patience = Duration.seconds(2)

    private func code(_ client: RedisClient) async -> RedisClientError.Code? {
        do throws(RedisClientError) {
            _ = try await client.send(RedisCommand("SET", "key", "value"))
            return nil
        } catch {
            return error.code
        }
    }

    @Test("refuses commands at once when that is known, until it is back", arguments: Trouble.allCases)
    func refusesAtOnce(_ trouble: Trouble) async throws {
        try await withServer(configure: { $0.commandTimeout = Self.patience }) { redis, client in
            try await trouble.begin(redis)
            // One waits; then it is known.
            #expect(await self.code(client) != nil)
            try await until("a refusal") { await self.code(client) == .outage }
            let start = ContinuousClock.now
            for _ in 0..<100 { #expect(await self.code(client) == .outage) }
            // A hundred of them within the time for which ten would have waited.
            #expect(start.duration(to: .now) < Self.patience * 10)
            try await trouble.end(redis)
            try await until("an answer") { await self.code(client) == nil }
        }
    }

    @Test("a command that takes too long costs its connection, and is no outage once there is another")
    func slowCommand() async throws {
        try await withServer { _, client in
            let error = await #expect(throws: RedisClientError.self) {
                _ = try await client.send(RedisCommand("BLPOP", "nothing", "0"), timeout: .milliseconds(300))
            }
            #expect(error?.code == .timedOut)
            // The next command waits for the next connection: what was silent for so short a time is not down.
            for _ in 0..<10 { #expect(await self.code(client) == nil) }
        }
    }

    @Test("a client that nobody started says so, and refuses at once from then on")
    func neverStarted() async throws {
        var configuration = RedisClientConfiguration(url: RedisURL(endpoint: .tcp(host: "127.0.0.1", port: 1)))
        configuration.commandTimeout = .milliseconds(100)
        let client = RedisClient(configuration: configuration, logger: .init(label: "test"))
        let error = await #expect(throws: RedisClientError.self) { _ = try await client.send(RedisCommand("PING")) }
        let reason = error?.underlying.map { "\($0)" }
        #expect(reason?.contains("never started") == true)
        try await until("a refusal") { await self.code(client) == .outage }
        await client.shutdown()
    }
}
