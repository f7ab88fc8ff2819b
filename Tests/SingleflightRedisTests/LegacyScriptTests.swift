import HiredisClient
import PrivateRedis
import SingleflightLease
import SingleflightTestKit
import TestSupport
import Testing

@testable import SingleflightRedis

/// The scripts in the form for Redis before 7.0, without the line that such a server cannot read.
@Suite("The scripts for older servers", .usesServer, .timeLimit(.minutes(5)))
struct LegacyScriptTests {
    private static var configuration: RedisLeaseStoreConfiguration {
        var configuration = RedisLeaseStoreConfiguration(commandTimeout: .seconds(10))
        configuration.usesLegacyScripts = true
        return configuration
    }

    private static let casesAtATime = 6

    /// Cases use keys of their own, so that one server will do for all of them. Most of them wait for a lease's end.
    @Test("keep the promises of a lease store, too")
    func conform() async throws {
        try await PrivateRedis.with { redis in
            await withTaskGroup(of: Void.self) { tasks in
                for (index, promise) in LeaseStoreConformance.cases.enumerated() {
                    if index >= Self.casesAtATime { await tasks.next() }
                    tasks.addTask {
                        let fixture = RedisConformanceTests.Fixture(url: redis.url, configuration: Self.configuration)
                        await #expect(throws: Never.self, "\(promise)") { try await promise.run(on: fixture) }
                        await fixture.shutDown()
                    }
                }
            }
            // The other form was never sent: the server knows none of it.
            for script in [LeaseScripts.enter, LeaseScripts.poll, LeaseScripts.complete] {
                let legacy = try #require(script.legacyBody)
                #expect(try await redis.command("SCRIPT", "EXISTS", legacy.hash) == "*1\r\n:1\r\n")
                #expect(try await redis.command("SCRIPT", "EXISTS", script.body.hash) == "*1\r\n:0\r\n")
            }
        }
    }

    /// Without the line a server checks a script's commands one by one, and stops it at the first that it refuses.
    @Test(
        "change nothing where the server refuses writes, and say so",
        arguments: [
            ("OOM", ["CONFIG", "SET", "maxmemory", "1"]),
            ("NOREPLICAS", ["CONFIG", "SET", "min-replicas-to-write", "1"]),
        ]
    )
    func refused(_ code: String, _ setting: [String]) async throws {
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: Self.configuration) { store in
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                let leader = EnterRequest.make(key)
                #expect(try await store.entered(leader) == .lead(attempt: 0))
                try await redis.command(setting[0], setting[1], setting[2], setting[3])
                let before = try await store.inspected(key)
                // A repetition, so that it is the script that is refused.
                var follower = EnterRequest.make(key)
                follower.isRepetition = true
                let request = follower
                let error = await #expect(throws: LeaseStoreError.self) { _ = try await store.entered(request) }
                #expect(error?.code == .unavailable)
                #expect(error?.mayHaveExecuted == false)
                #expect(error?.message.contains(code) == true, "\(String(describing: error))")
                let after = try await store.inspected(key)
                #expect(after.lease?.token == before.lease?.token && after.waiters == [])
            }
        }
    }
}
