import PrivateRedis
import SingleflightRedis
import Synchronization
import TestSupport
import Testing

@Suite("Results that are renewed", .usesServer, .timeLimit(.minutes(4)))
struct RefreshedResultTests {
    @Test("a kept result is given at once while one process computes the next, and nothing is left behind")
    func renewed() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(3)) { one, two in
                // Due as soon as it is there.
                let configuration = DistributedGroupConfiguration(
                    lease: .init(duration: .seconds(9)),
                    results: .init(reuse: .seconds(60), refreshAfter: .milliseconds(1))
                )
                let here = try DistributedGroup<String, Int>("pages", store: one, configuration: configuration)
                let there = try DistributedGroup<String, Int>("pages", store: two, configuration: configuration)
                let runs = Atomic(0)
                let gate = Gate("the second run")
                let operation: @Sendable @concurrent (Flight<String>) async throws -> Int = { _ in
                    let run = runs.add(1, ordering: .relaxed).newValue
                    if run == 2 { await gate.wait() }
                    return run
                }
                #expect(try await here.value("front", operation: operation) == 1)
                // A millisecond may not be over yet.
                try await until("the refresh") {
                    let value = try await here.value("front", operation: operation)
                    #expect(value == 1)
                    return runs.load(ordering: .relaxed) == 2
                }
                await gate.untilArrived()
                for group in [here, there] {
                    let outcome = await group.run("front", operation: operation)
                    guard case .complete(let completion) = outcome else {
                        Issue.record("\(outcome)")
                        return
                    }
                    #expect(try completion.result.get() == 1)
                    #expect(completion.role == .reused)
                }
                #expect(runs.load(ordering: .relaxed) == 2)
                gate.open()
                try await until("the next result") { try await there.value("front", operation: operation) > 1 }
                try await until("no flight") { here.inFlight + there.inFlight == 0 }
                // The result, and the partition's fence if one was drawn: no lease, and nobody registered.
                let keys = try await redis.command("KEYS", "*")
                #expect(keys.contains(":last:pages:front") && !keys.contains(":lease:") && !keys.contains(":wait:"))
            }
        }
    }
}
