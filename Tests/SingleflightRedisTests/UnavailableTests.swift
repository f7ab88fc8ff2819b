import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("A distributed group whose Redis has died", .usesServer, .timeLimit(.minutes(4)))
struct UnavailableTests {
    private static let commandTimeout = Duration.seconds(5)

    /// What a call gets from a group that has just lost its Redis.
    private func completion(_ policy: UnavailablePolicy) async throws -> Completion<String>? {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: Self.commandTimeout) { store, _ in
                let configuration = DistributedGroupConfiguration(
                    lease: .init(duration: .seconds(60)),
                    unavailable: policy
                )
                let group = try DistributedGroup<String, String>("pages", store: store, configuration: configuration)
                // Outside of the macro: with a closure in its argument the compiler mistakes the closure below for that
                // one.
                let before = try await group.value("front") { _ in "before" }
                #expect(before == "before")
                await redis.kill()
                guard case .complete(let completion) = await group.run("front", operation: { _ in "alone" }) else {
                    return nil
                }
                return completion
            }
        }
    }

    @Test("fails within the command timeout, if it is to fail")
    func fail() async throws {
        let completion = try #require(try await self.completion(.fail))
        #expect(
            #expect(throws: DistributedGroupError.self) { try completion.result.get() }?.code == .unavailable
        )
        #expect(completion.coordination == .degraded)
        // One timeout, not two.
        #expect(completion.waited < Self.commandTimeout * 2)
    }

    @Test("runs the operation here, if it is to go on")
    func runLocally() async throws {
        let completion = try #require(try await self.completion(.runLocally))
        #expect(try completion.result.get() == "alone")
        #expect(completion.coordination == .degraded)
        #expect(completion.token == nil)
    }
}
