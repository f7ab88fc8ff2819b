import HiredisClient
import Logging
import Synchronization
import TestSupport
import Testing

/// A client whose server is found by sentinels, with servers and sentinels that answer as a test tells them to.
@Suite(.usesServer, .timeLimit(.minutes(4)))
struct SentinelFinderTests {
    /// Which server the sentinels tell of.
    private final class Told: Sendable {
        let port = Mutex(0)

        func reply(_ command: [String], epoch: Int = 1) -> FakeServer.Reaction? {
            guard command.first?.uppercased() == "SENTINEL" else { return nil }
            guard command[1].uppercased() == "GET-MASTER-ADDR-BY-NAME" else {
                return .reply("*2\r\n$12\r\nconfig-epoch\r\n$1\r\n\(epoch)\r\n")
            }
            let port = "\(self.port.withLock { $0 })"
            return .reply("*2\r\n$9\r\n127.0.0.1\r\n$\(port.count)\r\n\(port)\r\n")
        }
    }

    private static func port(_ server: FakeServer) -> Int {
        guard case .server(.tcp(_, let port)) = server.configuration.target.deployment else { return 0 }
        return port
    }

    private static func configuration(
        _ sentinels: [FakeServer],
        credentials: RedisCredentials? = nil,
        own: RedisCredentials? = nil
    ) -> RedisClientConfiguration {
        let deployment = SentinelDeployment(
            sentinels: sentinels.map { .tcp(host: "127.0.0.1", port: port($0)) },
            primary: "main",
            credentials: own
        )
        var configuration = RedisClientConfiguration(RedisTarget(.sentinel(deployment), credentials: credentials))
        configuration.commandTimeout = .seconds(20)
        return configuration
    }

    @Test("a change that nobody announced is found by asking now and then: the old primary is left")
    func missedAnnouncement() async throws {
        let told = Told()
        let (old, new) = (try await FakeServer { _, _ in nil }, try await FakeServer { _, _ in nil })
        let sentinel = try await FakeServer { _, command in
            // Subscribers are told nothing at all.
            command.first == "SUBSCRIBE" ? .silence : told.reply(command)
        }
        told.port.withLock { $0 = Self.port(old) }
        var configuration = Self.configuration([sentinel])
        configuration.sentinelInterval = .milliseconds(100)
        try await withClient(configuration) { client in
            try await client.connected(within: .seconds(20))
            told.port.withLock { $0 = Self.port(new) }
            try await until("the client is connected to the new primary") {
                new.commands.contains { $0.first == "ROLE" }
            }
            _ = try await client.send(RedisCommand("SET", "k", "v"))
            #expect(new.commands.contains { $0.first == "SET" })
            #expect(!old.commands.contains { $0.first == "SET" })
        }
        for server in [old, new, sentinel] { try await server.close() }
    }

    @Test("a subscription is made anew at the new primary, too")
    func subscription() async throws {
        let told = Told()
        // As a server answers on a subscribed connection: what it must not do is to end it.
        let old = try await FakeServer { _, command in
            command.first == "PING" ? .reply("*2\r\n$4\r\npong\r\n$0\r\n\r\n") : nil
        }
        let new = try await FakeServer { _, _ in nil }
        let sentinel = try await FakeServer { _, command in told.reply(command) }
        told.port.withLock { $0 = Self.port(old) }
        var configuration = Self.configuration([sentinel])
        configuration.sentinelInterval = .milliseconds(100)
        try await withClient(configuration) { client in
            let subscription = client.makeSubscription(to: "inbox") { _ in }
            subscription.start()
            try await subscription.subscribed(within: .seconds(20))
            told.port.withLock { $0 = Self.port(new) }
            try await until("the inbox is subscribed at the new primary") {
                new.commands.contains { $0 == ["SUBSCRIBE", "inbox"] }
            }
            await subscription.shutdown()
        }
        for server in [old, new, sentinel] { try await server.close() }
    }

    @Test("a server that sentinels take for the primary, and is none, is not used: others are asked")
    func staleSentinel() async throws {
        let (stale, right) = (Told(), Told())
        let replica = try await FakeServer { _, command in
            command.first == "ROLE" ? .reply("*3\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n") : nil
        }
        let primary = try await FakeServer { _, _ in nil }
        stale.port.withLock { $0 = Self.port(replica) }
        right.port.withLock { $0 = Self.port(primary) }
        // Both tell the same epoch, so that neither contradicts the other.
        let first = try await FakeServer { _, command in stale.reply(command) }
        let second = try await FakeServer { _, command in right.reply(command) }
        try await withClient(Self.configuration([first, second])) { client in
            try await until("the client is connected to the primary") {
                (try? await client.connected(within: .seconds(20))) != nil
            }
            #expect(primary.commands.contains { $0.first == "ROLE" })
        }
        for server in [replica, primary, first, second] { try await server.close() }
    }

    @Test("credentials go to those whom they were given for, and to nobody else")
    func credentials() async throws {
        let told = Told()
        let server = try await FakeServer { _, _ in nil }
        let sentinel = try await FakeServer { _, command in told.reply(command) }
        told.port.withLock { $0 = Self.port(server) }
        let configuration = Self.configuration(
            [sentinel],
            credentials: RedisCredentials(user: "worker", password: "for-servers"),
            own: RedisCredentials(user: "asker", password: "for-sentinels")
        )
        try await withClient(configuration) { client in
            try await client.connected(within: .seconds(20))
            try await until("the announcements are subscribed to") {
                sentinel.commands.contains { $0.first == "SUBSCRIBE" }
            }
        }
        let (logins, questions) = (server.commands.filter { $0.first == "AUTH" }, sentinel.commands)
        #expect(Set(logins) == [["AUTH", "worker", "for-servers"]])
        #expect(Set(questions.filter { $0.first == "AUTH" }) == [["AUTH", "asker", "for-sentinels"]])
        #expect(!questions.joined().contains("for-servers") && !server.commands.joined().contains("for-sentinels"))
        for server in [server, sentinel] { try await server.close() }
    }

    @Test("why the primary is not found is told to all who wait, at once where time will not heal it")
    func everybodyHears() async throws {
        let sentinel = try await FakeServer { _, command in command.first == "SENTINEL" ? .reply("*-1\r\n") : nil }
        try await withClient(Self.configuration([sentinel])) { client in
            await withTaskGroup(of: RedisClientError?.self) { group in
                for _ in 0..<50 {
                    group.addTask {
                        do throws(RedisClientError) {
                            _ = try await client.send(RedisCommand("PING"))
                            return nil
                        } catch {
                            return error
                        }
                    }
                }
                for await error in group {
                    #expect(error?.code == .misconfigured)
                    #expect(error?.message.contains("'main'") ?? false)
                }
            }
        }
        try await sentinel.close()
    }
}
