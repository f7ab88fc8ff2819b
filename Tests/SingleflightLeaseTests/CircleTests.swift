import SingleflightLease
import SingleflightTestKit
import TestSupport
import Testing

/// Operations that ask for what waits for them are refused at once, instead of waiting until their flights have taken
/// too long.
@Suite("Operations that wait for themselves", .timeLimit(.minutes(1)))
struct CircleTests {
    let cluster: Cluster

    init() throws {
        self.cluster = try Cluster()
    }

    /// What a call from inside of an operation comes to.
    private static func refusal(_ outcome: Outcome<String>) -> String {
        switch outcome {
        case .canceled(let reason):
            (reason.underlying as? GroupError).map { "\($0.code) \($0.key): \($0.path)" } ?? "\(reason)"
        case .complete(let completion):
            "\(completion.result)"
        }
    }

    @Test("the same key by another object of the same group is refused")
    func secondObject() async throws {
        let a = try self.cluster.process("a")
        let second = try DistributedGroup<String, String>("group", store: a.store, configuration: .test)
        let value = try await a.group.value("key") { _ in
            Self.refusal(await second.run("key") { _ in "another run" })
        }
        #expect(value == "reentrantCall key: []")
        let other = try await a.group.value("key") { _ in try await second.value("another") { _ in "another" } }
        #expect(other == "another")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("of two operations that ask for one another's key one is refused, with the way", arguments: [false, true])
    func mutual(isSecondObject: Bool) async throws {
        let a = try self.cluster.process("a")
        let first = a.group
        let second =
            isSecondObject
            ? try DistributedGroup<String, String>("group", store: a.store, configuration: .test) : first
        let both = Gate("both operations")
        @Sendable func call(
            _ key: String,
            _ group: DistributedGroup<String, String>,
            then other: String,
            _ otherGroup: DistributedGroup<String, String>
        ) async throws -> String {
            try await group.value(key) { _ in
                await both.wait()
                let outcome = await otherGroup.run(other) { _ in "nobody waits for \(key)" }
                if case .complete(let completion) = outcome { return try completion.result.get() }
                return Self.refusal(outcome)
            }
        }
        async let one = call("a", first, then: "b", first)
        async let two = call("b", first, then: "a", second)
        await both.untilArrived(2)
        both.open()
        let values = [try await one, try await two]
        let refusals = [#"reentrantCall a: ["b", "a", "b"]"#, #"reentrantCall b: ["a", "b", "a"]"#]
        #expect(values[0] == values[1])
        #expect(refusals.contains(values[0]), "\(values)")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a call that only follows closes no circle either")
    func following() async throws {
        let a = try self.cluster.process("a")
        let group = a.group
        let second = try DistributedGroup<String, String>("group", store: a.store, configuration: .test)
        let own = try await group.value("key") { _ in Self.refusal(await second.follow("key")) }
        #expect(own == "reentrantCall key: []")
        let inner = Gate("the inner operation")
        let outer = Task {
            await group.run("a") { _ in
                try await group.value("b") { _ in
                    await inner.wait()
                    return Self.refusal(await group.follow("a"))
                }
            }
        }
        await inner.untilArrived()
        inner.open()
        #expect(try await outer.value.completion().result.get() == #"reentrantCall a: []"#)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("an operation that only other processes wait for may not ask for its own key either")
    func abandoned() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let gate = Gate("the operation")
        let group = a.group
        let call = Task {
            await group.run("key") { _ in
                await gate.wait()
                return Self.refusal(await group.run("key") { _ in "another run" })
            }
        }
        await gate.untilArrived()
        let other = Work()
        let follower = b.call(other)
        await self.cluster.server.untilWaiters(of: self.cluster.key, 1)
        call.cancel()
        #expect(await call.value.cancellation == .callerCanceled)
        gate.open()
        #expect(try await follower.value.completion().result.get() == "reentrantCall key: []")
        #expect(other.starts == 0)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a leader that waits for its own flight inside of its work is refused, and so is its subscriber")
    func ownHandle() async throws {
        let a = try self.cluster.process("a")
        let leader = try await a.leads()
        let subscriber = leader.subscribe()
        let refusals = await leader.onBehalf {
            [Self.refusal(await leader.outcome()), Self.refusal(await subscriber.outcome())]
        }
        #expect(refusals == ["reentrantCall key: []", "reentrantCall key: []"])
        leader.complete(.success("value"))
        #expect(try await subscriber.outcome().completion().result.get() == "value")
        await self.cluster.expectNothingLeft(a)
    }
}
