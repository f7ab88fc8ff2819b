import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// A primary and its replica exchange their roles. Processes reach whoever is the primary by one address.
@Suite("A primary that becomes a replica", .usesServer, .timeLimit(.minutes(3)))
struct DemotionTests {
    /// Before a process that is told so by an answer made its inbox anew, too, the inbox stayed with the old primary, and what was
    /// announced by the new one was missed until the lease's end.
    @Test("loses the inboxes of those whom it tells so: they hear of the outcome from the new primary")
    func inbox() async throws {
        let configuration = PrivateRedis.Configuration(listening: .unixSocketAndTCP(.free))
        try await PrivateRedis.with(configuration) { old in
            try await PrivateRedis.with(configuration) { new in
                let address = try Address(of: old)
                defer { address.remove() }
                try await new.command("REPLICAOF", "127.0.0.1", "\(try #require(old.port))")
                try await Self.withStores("redis+unix://\(address.path)") { one, two in
                    let (here, there) = (try Self.group(one), try Self.group(two))
                    let gate = Gate()
                    let leader = Task {
                        await here.run("front") { _ in
                            await gate.wait()
                            return "value"
                        }
                    }
                    await gate.untilArrived()
                    // Long before the lease ends, which lasts a minute.
                    let follower = Task { await there.run("front", waitingAtMost: .seconds(30)) { _ in "another" } }
                    try await one.untilWaiters(1, group: "pages", key: "front")
                    try await until("the replica's copy") {
                        try await new.command("KEYS", "*:wait:pages:front") != "*0\r\n"
                    }

                    try await new.command("REPLICAOF", "NO", "ONE")
                    try address.move(to: new)
                    try await old.command("REPLICAOF", "127.0.0.1", "1")
                    // Both processes have something to ask, and are told that the server is a replica.
                    _ = try await here.value("mine") { _ in "value" }
                    _ = try await there.value("mine too") { _ in "value" }

                    gate.open()
                    #expect(Answer(await leader.value).description == "the value")
                    #expect(Answer(await follower.value).description == "the value")
                }
            }
        }
    }

    private static func group(_ store: RedisLeaseStore) throws -> DistributedGroup<String, String> {
        let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)), unavailable: .fail)
        return try DistributedGroup("pages", store: store, configuration: configuration)
    }

    private static func withStores(
        _ url: String,
        _ body: (RedisLeaseStore, RedisLeaseStore) async throws -> Void
    ) async throws {
        func configuration(_ label: String) -> RedisLeaseStoreConfiguration {
            .init(namespace: "test", label: label, commandTimeout: .seconds(10))
        }
        try await RedisLeaseStore.withConnection(to: url, configuration: configuration("one")) { one in
            try await RedisLeaseStore.withConnection(to: url, configuration: configuration("two")) { two in
                try await one.untilSubscribed()
                try await two.untilSubscribed()
                try await body(one, two)
            }
        }
    }

    /// A Unix socket's path that leads to one server, and later to another.
    private struct Address {
        let path =
            FileManager.default.temporaryDirectory.path + "/singleflight-address-"
            + String(UInt64.random(in: .min ... .max), radix: 36)

        init(of redis: PrivateRedis) throws {
            try self.move(to: redis)
        }

        func move(to redis: PrivateRedis) throws {
            self.remove()
            let socket = try #require(redis.socketPath)
            try FileManager.default.createSymbolicLink(atPath: self.path, withDestinationPath: socket)
        }

        func remove() {
            try? FileManager.default.removeItem(atPath: self.path)
        }
    }
}
