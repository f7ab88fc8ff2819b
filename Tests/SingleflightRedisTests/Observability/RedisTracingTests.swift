import InMemoryTracing
import ObservabilityTestSupport
import PrivateRedis
import TestSupport
import Testing
import Tracing

@testable import SingleflightRedis

@Suite("Spans of calls on a real Redis", .usesServer, .timeLimit(.minutes(4)))
struct RedisTracingTests {
    private func group(
        _ store: RedisLeaseStore,
        _ observed: Observed,
        _ change: (inout DistributedGroupConfiguration) -> Void = { _ in }
    ) throws -> DistributedGroup<String, String> {
        var configuration = DistributedGroupConfiguration(
            lease: .init(duration: .seconds(60)),
            observability: observed.observability
        )
        change(&configuration)
        return try DistributedGroup("pages", store: store, configuration: configuration)
    }

    private func span(_ observed: Observed, _ role: String) -> FinishedInMemorySpan? {
        observed.tracer.finishedSpans.first { $0.attributes.get("sf.role") == .string(role) }
    }

    @Test("the follower's span links to the leader's, and the lease tells which that is")
    func link() async throws {
        let (here, there) = (Observed(group: "pages"), Observed(group: "pages"))
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                let (leading, following) = (try group(one, here), try group(two, there))
                let gate = Gate()
                async let led = leading.run("front") { _ in
                    await gate.wait()
                    return "computed here"
                }
                await gate.untilArrived()
                async let followed = following.run("front") { _ in "computed there" }
                try await one.untilWaiters(1, group: "pages", key: "front")
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                let trace = try await two.inspected(key).lease?.note.trace
                gate.open()
                _ = await (led, followed)

                let leader = try #require(span(here, "leader"))
                let follower = try #require(span(there, "follower"))
                #expect(trace?.fields[InMemoryTracer.spanIDKey] == leader.spanID)
                #expect(follower.links.count == 1)
                #expect(follower.links.first?.context.inMemorySpanContext?.spanID == leader.spanID)
                #expect(follower.links.first?.context.inMemorySpanContext?.traceID == leader.traceID)
                #expect(follower.attributes.get("sf.token") == leader.attributes.get("sf.token"))
                #expect(follower.attributes.get("sf.leader") == .string("one"))
            }
        }
    }

    @Test("an error that travels links to the span that it comes from")
    func failure() async throws {
        struct OperationFailed: Error {}
        let (here, there) = (Observed(group: "pages"), Observed(group: "pages"))
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                let (leading, following) = (try group(one, here), try group(two, there))
                let gate = Gate()
                async let led = leading.run("front") { _ in
                    await gate.wait()
                    throw OperationFailed()
                }
                await gate.untilArrived()
                async let followed = following.run("front") { _ in "computed there" }
                try await one.untilWaiters(1, group: "pages", key: "front")
                gate.open()
                _ = await (led, followed)
                let leader = try #require(span(here, "leader"))
                let follower = try #require(span(there, "follower"))
                #expect(follower.attributes.get("sf.outcome") == .string("failure"))
                #expect(follower.links.map { $0.context.inMemorySpanContext?.spanID } == [leader.spanID])
            }
        }
    }

    @Test("after a takeover the link leads to who led on")
    func takeover() async throws {
        let (here, there) = (Observed(group: "pages"), Observed(group: "pages"))
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                let takeOver: (inout DistributedGroupConfiguration) -> Void = {
                    $0.lease.leaderLoss = .takeOver(attempts: 1)
                }
                let (first, second) = (try group(one, here, takeOver), try group(two, there, takeOver))
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                // A leader that has died: nobody renews its lease.
                let policy = LeaderLossPolicy.takeOver(attempts: 1)
                _ = try await one.entered(.make(key, lease: .milliseconds(1000), leaderLoss: policy))
                let gate = Gate()
                @Sendable
                func operation(_ flight: Flight<String>) async -> String {
                    await gate.wait()
                    return "value"
                }
                async let a = first.run("front", operation: operation)
                async let b = second.run("front", operation: operation)
                // One leads on, and the other has found out that it is to wait for that one.
                await gate.untilArrived()
                try await one.untilWaiters(1, group: "pages", key: "front")
                gate.open()
                _ = await (a, b)
                let leader = try #require(span(here, "leader") ?? span(there, "leader"))
                let follower = try #require(span(here, "follower") ?? span(there, "follower"))
                #expect(leader.attributes.get("sf.attempts") == .int64(2))
                #expect(follower.links.map { $0.context.inMemorySpanContext?.spanID } == [leader.spanID])
                #expect(here.count("takeovers_total") + there.count("takeovers_total") == 1)
            }
        }
    }

    @Test("without a tracer neither the lease nor the outcome carries anything of a trace")
    func off() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, _ in
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: one,
                    configuration: .init(lease: .init(duration: .seconds(60)))
                )
                let record = try await group.value("front") { _ in
                    let script = "return redis.call('GET', redis.call('KEYS', '*:lease:pages:front')[1])"
                    return try await redis.command("EVAL", script, "0")
                }
                #expect(record.contains("\"label\":\"one\""))
                #expect(!record.contains("trace"))
            }
        }
    }
}
