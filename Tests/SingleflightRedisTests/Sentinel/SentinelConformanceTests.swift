import PrivateRedis
import SingleflightTestKit
import TestSupport
import Testing

/// A store that finds its primary by sentinels is like any other.
@Suite("The store behind sentinels", .usesServer, .timeLimit(.minutes(5)))
struct SentinelConformanceTests {
    private static let casesAtATime = 6

    /// Cases use keys of their own, so that one deployment will do for all of them. Most of them wait for a lease's
    /// end.
    @Test("keeps the promises of a lease store")
    func conforms() async throws {
        try await PrivateSentinels.with { deployment in
            await withTaskGroup(of: Void.self) { tasks in
                for (index, promise) in LeaseStoreConformance.cases.enumerated() {
                    if index >= Self.casesAtATime { await tasks.next() }
                    tasks.addTask {
                        let fixture = RedisConformanceTests.Fixture(url: deployment.url)
                        await #expect(throws: Never.self, "\(promise)") { try await promise.run(on: fixture) }
                        await fixture.shutDown()
                    }
                }
            }
            // It was all of them that led there, and wrote where they were led to.
            let primary = try #require(await deployment.current())
            #expect(try await primary.command("DBSIZE") != ":0\r\n")
        }
    }
}
