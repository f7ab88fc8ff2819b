import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// Operations of two processes that ask for one another's key, as ``CircleTests`` has them on a store in memory.
@Suite("Operations that wait for one another through Redis", .usesServer, .timeLimit(.minutes(4)))
struct RedisCircleTests {
    private static func refusal(_ outcome: Outcome<String>) throws -> String {
        switch outcome {
        case .canceled(let reason):
            (reason.underlying as? GroupError).map { "\($0.code) \($0.key): \($0.path)" } ?? "\(reason)"
        case .complete(let completion):
            try completion.result.get()
        }
    }

    @Test("one of them is refused, with the way, and both end", arguments: [false, true])
    func mutual(isAtOnce: Bool) async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                // Longer than the test may take: nothing but a refusal ends it.
                let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(40)))
                let groups = try [one, two].map {
                    try DistributedGroup<String, String>("pages", store: $0, configuration: configuration)
                }
                let (keys, gates) = (["x", "y"], [Gate("x's operation"), Gate("y's operation")])
                let calls = [0, 1].map { index in
                    Task {
                        try await groups[index].value(keys[index]) { _ in
                            await gates[index].wait()
                            return try Self.refusal(await groups[index].run(keys[1 - index]) { _ in "never" })
                        }
                    }
                }
                for gate in gates { await gate.untilArrived() }
                gates[0].open()
                if !isAtOnce { try await two.untilWaiters(1, group: "pages", key: "y") }
                gates[1].open()
                let refusals = [#"reentrantCall x: ["y", "x", "y"]"#, #"reentrantCall y: ["x", "y", "x"]"#]
                for call in calls {
                    let value = try await call.value
                    #expect(refusals.contains(value), "\(value)")
                }
                #expect(groups.map(\.inFlight) == [0, 0])
            }
        }
    }
}
