import SingleflightLease
import SingleflightTestKit
import TestSupport
import Testing

/// Operations that ask for what waits for them are refused at once, instead of waiting until their flights have taken
/// too long. Within a process that is found without the store: tests of it cut the question about circles off.
@Suite("Operations that wait for themselves", .timeLimit(.minutes(4)))
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
        a.cutOff([.depend])
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
        a.cutOff([.depend])
        let first = a.group
        let second =
            isSecondObject
            ? try DistributedGroup<String, String>("group", store: a.store, configuration: .test) : first
        let gates = (a: Gate("the operation of a"), b: Gate("the operation of b"))
        let isAwaited = Gate("the call for b")
        @Sendable func call(
            _ key: String,
            at gate: Gate,
            then other: String,
            _ group: DistributedGroup<String, String>
        ) -> Task<String, any Error> {
            Task {
                try await first.value(key) { _ in
                    await gate.wait()
                    // Waits for the other flight, or is refused, when the task is made.
                    let inner = Task.atOnce { await group.run(other) { _ in "nobody waits for \(key)" } }
                    isAwaited.open()
                    let outcome = await inner.value
                    if case .complete(let completion) = outcome { return try completion.result.get() }
                    return Self.refusal(outcome)
                }
            }
        }
        let calls = [call("a", at: gates.a, then: "b", first), call("b", at: gates.b, then: "a", second)]
        await gates.a.untilArrived()
        await gates.b.untilArrived()
        gates.a.open()
        await isAwaited.wait()
        gates.b.open()
        for call in calls { #expect(try await call.value == #"reentrantCall a: ["b", "a", "b"]"#) }
        await self.cluster.expectNothingLeft(a)
    }

    // MARK: - Across processes

    /// The operation of the key, which asks for the other one when the gate opens; meanwhile the process leads it.
    private func call(
        _ key: String,
        in process: Process,
        then other: String,
        at gate: Gate
    ) async -> Task<String, any Error> {
        let group = process.group
        let task = Task {
            try await group.value(key) { _ in
                await gate.wait()
                let outcome = await group.run(other) { _ in "nobody waits for \(key)" }
                if case .complete(let completion) = outcome { return try completion.result.get() }
                return Self.refusal(outcome)
            }
        }
        await gate.untilArrived()
        return task
    }

    /// Lets an operation go on, and returns when what its process asks about circles because of that is answered.
    private func go(_ gate: Gate, in process: Process) async {
        let asked = RequestGate()
        process.store.onRequest { $0 == .depend ? .requestHeld(asked) : .none }
        gate.open()
        await asked.untilHeld()
        process.store.onRequest { _ in .none }
        asked.open()
    }

    private func untilAwaited(_ key: String) async throws {
        await self.cluster.server.untilWaiters(of: try FlightKey(group: "group", bytes: Array(key.utf8)), 1)
    }

    @Test("of two processes' operations that ask for one another's key the one that closes the circle is refused")
    func acrossProcesses() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let gates = (x: Gate("the operation of x"), y: Gate("the operation of y"))
        let x = await self.call("x", in: a, then: "y", at: gates.x)
        let y = await self.call("y", in: b, then: "x", at: gates.y)
        await self.go(gates.x, in: a)
        gates.y.open()
        for call in [x, y] { #expect(try await call.value == #"reentrantCall x: ["y", "x", "y"]"#) }
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a circle through three processes is found, and through a flight that another call of the process leads")
    func throughOthers() async throws {
        let processes = try ["a", "b", "c"].map { try self.cluster.process($0) }
        let gates = (w: Gate("w"), x: Gate("x"), y: Gate("y"), z: Gate("z"))
        let calls = [
            await self.call("w", in: processes[0], then: "y", at: gates.w),
            await self.call("x", in: processes[0], then: "w", at: gates.x),
            await self.call("y", in: processes[1], then: "z", at: gates.y),
            await self.call("z", in: processes[2], then: "x", at: gates.z),
        ]
        await self.go(gates.w, in: processes[0])
        await self.go(gates.x, in: processes[0])
        await self.go(gates.y, in: processes[1])
        gates.z.open()
        for call in calls { #expect(try await call.value == #"reentrantCall x: ["z", "x", "w", "y", "z"]"#) }
        await self.cluster.expectNothingLeft(processes[0], processes[1], processes[2])
    }

    @Test("only the call that closes a circle is refused: another one of its process waits on for the same flight")
    func onlyTheCall() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let gates = (x: Gate("the operation of x"), y: Gate("the operation of y"))
        let x = await self.call("x", in: a, then: "y", at: gates.x)
        let y = await self.call("y", in: b, then: "x", at: gates.y)
        let bystander = Task { [group = b.group] in try await group.value("x") { _ in "never" } }
        try await self.untilAwaited("x")
        await self.go(gates.x, in: a)
        gates.y.open()
        for call in [x, y, bystander] { #expect(try await call.value == #"reentrantCall x: ["y", "x", "y"]"#) }
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a circle that could not be seen at first is found when the flights are asked for again")
    func foundLater() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let gates = (x: Gate("the operation of x"), y: Gate("the operation of y"))
        let x = await self.call("x", in: a, then: "y", at: gates.x)
        let y = await self.call("y", in: b, then: "x", at: gates.y)
        for process in [a, b] { process.cutOff([.depend]) }
        for gate in [gates.x, gates.y] { gate.open() }
        for key in ["x", "y"] { try await self.untilAwaited(key) }
        for process in [a, b] { process.store.onRequest { _ in .none } }
        // The leases are renewed meanwhile; their waiters ask when the first of them should have ended.
        self.cluster.clock.advance(by: .seconds(4))
        let values = [try await x.value, try await y.value]
        let refusals = [#"reentrantCall x: ["y", "x", "y"]"#, #"reentrantCall y: ["x", "y", "x"]"#]
        #expect(values[0] == values[1])
        #expect(refusals.contains(values[0]), "\(values)")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a subscriber's task that closes a circle is refused, and the subscriber stays")
    func subscriber() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        let subscriber = try await b.subscribes()
        let gate = Gate("the operation of y")
        let y = Task { [group = b.group] in
            try await group.value("y") { _ in
                await gate.wait()
                return Self.refusal(await subscriber.outcome())
            }
        }
        await gate.untilArrived()
        let asked = Gate("the leader's work")
        let work = Task { [group = a.group] in
            await leader.perform {
                await asked.wait()
                return try await group.value("y") { _ in "never" }
            }
        }
        await asked.untilArrived()
        await self.go(asked, in: a)
        gate.open()
        let refusal = #"reentrantCall key: ["y", "key", "y"]"#
        #expect(try await y.value == refusal)
        #expect(try await work.value.completion().result.get() == refusal)
        #expect(try await subscriber.outcome().completion().result.get() == refusal)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a process that is part of another's work is refused what waits for that, and may wait for anything else")
    func foreignWork() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let leader = try await a.leads()
        let around = EnclosingFlight(key: self.cluster.key, token: try #require(leader.token))
        let (own, other) = await withEnclosing([around]) {
            (
                Self.refusal(await b.group.run("key") { _ in "never" }),
                Self.refusal(await b.group.run("another") { _ in "value" })
            )
        }
        #expect(own == "reentrantCall key: []")
        #expect(other == #"success("value")"#)
        leader.complete(.success("value"))
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("who is part of no other flight's work asks nothing, and who is asks once for each flight that it follows")
    func cost() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let (asked, gate) = (Counter(), RequestGate())
        b.store.onRequest { operation in
            guard operation == .depend else { return .none }
            asked.increment()
            return .requestHeld(gate)
        }
        let leader = try await a.leads()
        let plain = b.call(Work())
        await self.cluster.untilFollowed(by: 1)
        let led = try await b.group.value("led") { [group = b.group] _ in
            try await group.value("led, too") { _ in "value" }
        }
        #expect(led == "value")
        #expect(asked.value == 0)
        let nested = Task { [group = b.group] in
            try await group.value("outer") { _ in try await group.value("key") { _ in "never" } }
        }
        await gate.untilHeld()
        gate.open()
        leader.complete(.success("a's"))
        #expect(try await plain.value.completion().result.get() == "a's")
        #expect(try await nested.value == "a's")
        #expect(asked.value == 1)
        await self.cluster.expectNothingLeft(a, b)
    }

    // MARK: - Handles, and calls that only follow

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
        a.cutOff([.depend])
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
        await self.cluster.untilFollowed(by: 1)
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
