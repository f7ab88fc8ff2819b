import PrivateRedis
import SingleflightLease
import Synchronization
import TestSupport
import Testing

@testable import SingleflightRedis

/// A server that stands still and then goes on: what was given up meanwhile lies in its sockets, and is carried out
/// then.
@Suite("A Redis that is frozen and goes on", .usesServer, .timeLimit(.minutes(5)))
struct FrozenServerTests {
    private static let commandTimeout = Duration.seconds(2)
    /// Far longer than the test waits.
    private static let lease = Duration.seconds(60)
    /// How long a lease that nobody works under may be seen after the server went on; a busy machine needs some of it.
    private static let patience = Duration.seconds(20)

    private func group(
        _ store: RedisLeaseStore,
        reuse: Duration = .zero
    ) throws -> DistributedGroup<String, String> {
        try DistributedGroup(
            "pages",
            store: store,
            configuration: DistributedGroupConfiguration(
                lease: .init(duration: Self.lease),
                results: .init(reuse: reuse),
                unavailable: .fail
            )
        )
    }

    private func calls(of command: String, _ redis: PrivateRedis) async throws -> Int {
        let statistics = try await redis.command("INFO", "commandstats")
        guard let line = statistics.split(separator: "\r\n").first(where: { $0.hasPrefix("cmdstat_\(command):calls=") })
        else { return 0 }
        return Int(line.drop { $0 != "=" }.dropFirst().prefix { $0.isNumber }) ?? 0
    }

    private func scripts(_ redis: PrivateRedis) async throws -> Int {
        try await self.calls(of: "eval", redis) + self.calls(of: "evalsha", redis)
    }

    /// Asks until it is so; how long that took.
    private func until(_ isSo: () async throws -> Bool) async throws -> Duration {
        let start = ContinuousClock.now
        while try await !isSo() {
            try Task.checkCancellation()
            guard start.duration(to: .now) < Self.patience else { return Self.patience }
        }
        return start.duration(to: .now)
    }

    private func expectUnavailable(_ outcome: Outcome<String>) {
        guard case .complete(let completion) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(#expect(throws: DistributedGroupError.self) { try completion.result.get() }?.code == .unavailable)
    }

    /// A single release, sent while the server stood still, was lost with its connection: the server then carried out
    /// the SET, and nobody led the key for as long as the lease lasted.
    @Test("carries out a SET that was given up, and the lease is released all the same")
    func zombieSet() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: Self.commandTimeout) { store, other in
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                let group = try self.group(store)
                redis.pause()
                let outcome = await group.run("front") { _ in "never" }
                redis.resume()
                self.expectUnavailable(outcome)
                let executed = try await self.until { try await self.calls(of: "set", redis) > 0 }
                #expect(executed < Self.patience, "otherwise this test shows nothing")
                let released = try await self.until {
                    do { return try await other.inspected(key).lease == nil } catch { return false }
                }
                #expect(released < Self.patience)
                let next = try await self.group(other).value("front") { _ in "led at once" }
                #expect(next == "led at once")
            }
        }
    }

    @Test("does not carry out a script that asks to lead when its time is over")
    func zombieScript() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: Self.commandTimeout) { store, other in
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                let group = try self.group(store, reuse: .seconds(1))
                // From now on the server knows the script, and the store the server's time.
                _ = try await group.value("another") { _ in "value" }
                let (scripts, writes) = try await (self.scripts(redis), self.calls(of: "set", redis))
                redis.pause()
                let outcome = await group.run("front") { _ in "never" }
                // The not-after is as much later than the timeout as the time was uncertain.
                try await ContinuousClock().sleep(for: .seconds(2))
                redis.resume()
                self.expectUnavailable(outcome)
                let executed = try await self.until { try await self.scripts(redis) > scripts }
                #expect(executed < Self.patience, "otherwise this test shows nothing")
                #expect(try await self.calls(of: "set", redis) == writes, "no lease was written")
                #expect(try await other.inspected(key).lease == nil)
            }
        }
    }

    @Test("whoever it was late for leads again as soon as it goes on")
    func goesOn() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: Self.commandTimeout) { store, _ in
                let group = try self.group(store)
                redis.pause()
                self.expectUnavailable(await group.run("front") { _ in "never" })
                redis.resume()
                let recovered = try await self.until {
                    guard case .complete(let completion) = await group.run("front", operation: { _ in "again" })
                    else { return false }
                    return (try? completion.result.get()) == "again"
                }
                #expect(recovered < Self.patience)
            }
        }
    }

    @Test("a server whose clock was set refuses nobody who is in time", arguments: [-3600, 3600])
    func clockSet(by seconds: Int) async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(5)) { store, _ in
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                try await store.untilSubscribed()
                _ = try await store.inspected(key)
                let time = try await redis.command("TIME").split(separator: "\r\n")
                let now = try #require(Int(time[2]))
                // As if the server's clock had been set by so much since the store learned it.
                store.serverTime.known.withLock { known in
                    known = ServerClock()
                    known.learn(.seconds(now - seconds), sentAt: store.clock.now, receivedAt: store.clock.now)
                }
                var leader = EnterRequest.make(key)
                leader.isRepetition = true
                leader.validity = .seconds(5)
                var follower = EnterRequest.make(key)
                follower.validity = .seconds(5)
                #expect(try await store.entered(leader) == .lead(attempt: 0))
                guard case .follow(leader.token, _) = try await store.entered(follower) else {
                    Issue.record("the second request follows")
                    return
                }
            }
        }
    }
}
