import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("A group whose Redis is known to be down", .usesServer, .timeLimit(.minutes(4)))
struct KnownOutageTests {
    private static let commandTimeout = Duration.seconds(3)

    private static func coordination(_ outcome: Outcome<String>) -> Coordination? {
        guard case .complete(let completion) = outcome else { return nil }
        return completion.coordination
    }

    /// What keeps a server from leading.
    enum Trouble: Sendable, CaseIterable {
        case isDown, isFrozen
        /// It answers what does not write.
        case holdsWrites
    }

    @Test("answers new calls at once, and coordinates them again when it is back", arguments: Trouble.allCases)
    func newCalls(_ trouble: Trouble) async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: Self.commandTimeout) { store, _ in
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: store,
                    configuration: .init(lease: .init(duration: .seconds(30)))
                )
                switch trouble {
                case .isDown: await redis.kill()
                case .isFrozen: redis.pause()
                case .holdsWrites: try await redis.command("CLIENT", "PAUSE", "600000", "WRITE")
                }
                _ = await group.run("first") { _ in "" }
                let start = ContinuousClock.now
                for index in 0..<100 {
                    let outcome = await group.run("key \(index)") { _ in "" }
                    #expect(Self.coordination(outcome) == .degraded)
                }
                // A hundred calls, one after the other, in the time for which ten would have waited.
                #expect(start.duration(to: .now) < Self.commandTimeout * 10)
                if case .holdsWrites = trouble {
                    // A new connection counts once a script is answered, and not as soon as all else is; servers before
                    // 7.0 hold back the request for their scripts, too.
                    try await until("a connection that waits for a script's answer") {
                        try await redis.command("CLIENT", "LIST").split(separator: "\n").contains {
                            $0.contains("name=sf:") && ($0.contains(" cmd=eval ") || $0.contains(" cmd=script "))
                        }
                    }
                }
                switch trouble {
                case .isDown: try await redis.restart()
                case .isFrozen: redis.resume()
                case .holdsWrites: try await redis.command("CLIENT", "UNPAUSE")
                }
                try await until("a coordinated call") {
                    Self.coordination(await group.run("back") { _ in "" }) == .coordinated
                }
            }
        }
    }

    @Test("a follower goes by its policy when it cannot ask, and a leader's callers get the result at once")
    func underWay() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: Self.commandTimeout) { one, two in
                let lease = DistributedGroupConfiguration.Lease(duration: .seconds(9), grace: .seconds(60))
                let configuration = DistributedGroupConfiguration(lease: lease)
                let here = try DistributedGroup<String, String>("pages", store: one, configuration: configuration)
                let there = try DistributedGroup<String, String>("pages", store: two, configuration: configuration)
                let gate = Gate()
                let led = Task {
                    await here.run("front") { _ in
                        await gate.wait()
                        return "led"
                    }
                }
                await gate.untilArrived()
                let followed = Task { await there.run("front") { _ in "alone" } }
                try await one.untilWaiters(1, group: "pages", key: "front")
                await redis.kill()
                let start = ContinuousClock.now
                guard case .complete(let completion) = await followed.value else {
                    Issue.record("\(await followed.value)")
                    return
                }
                #expect(try completion.result.get() == "alone")
                // When the lease should have been renewed it asks, and not for the whole grace.
                #expect(start.duration(to: .now) < .seconds(40))
                gate.open()
                _ = await led.value
            }
        }
    }
}
