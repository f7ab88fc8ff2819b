import SingleflightLease
import SingleflightTestKit
import Testing

@Suite("A group that only observes", .timeLimit(.minutes(4)))
struct ObserveTests {
    let cluster: Cluster
    let work = Work()
    let other = Work()

    init() throws {
        self.cluster = try Cluster()
    }

    private static let configuration = DistributedGroupConfiguration.test { $0.mode = .observe }

    private func process(_ label: String) throws -> Process {
        try self.cluster.process(label, Self.configuration)
    }

    @Test("every call of one process runs its own operation, and those that found one running are counted")
    func here() async throws {
        let a = try self.process("a")
        let calls = [a.call(self.work)]
        await self.work.untilStarted()
        let others = (0..<2).map { _ in a.call(self.work) }
        await self.work.untilStarted(3)
        self.work.finish(.success("own"))
        for call in calls + others {
            let completion = try await call.value.completion()
            #expect(try completion.result.get() == "own")
            #expect(completion.role == .leader)
            #expect(completion.coordination == .observed)
            #expect(completion.token == nil)
            #expect(!completion.isShared)
        }
        #expect(a.group.observation.calls == 3)
        #expect(a.group.observation.led == 1)
        #expect(a.group.observation.coalescedHere == 2)
        #expect(a.group.observation.coalesced == 2)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a call that came while another process computed is counted, and runs all the same")
    func elsewhere() async throws {
        let (a, b) = (try self.process("a"), try self.process("b"))
        let first = a.call(self.work)
        await self.work.untilStarted()
        let second = b.call(self.other)
        await self.other.untilStarted()
        #expect(b.group.observation.coalescedElsewhere == 1)
        #expect(a.group.observation.led == 1)
        self.other.finish(.success("b's"))
        self.work.finish(.success("a's"))
        #expect(try await first.value.completion().result.get() == "a's")
        #expect(try await second.value.completion().result.get() == "b's")
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a call counts as coalesced only while a computation runs that would have been the flight's")
    func onlyWhileLed() async throws {
        let (a, b) = (try self.process("a"), try self.process("b"))
        let first = a.call(self.work)
        await self.work.untilStarted()
        let second = b.call(self.other)
        await self.other.untilStarted()
        self.work.finish()
        _ = await first.value
        await a.store.untilIdle()
        // b still computes what it would have been given: who comes now would have begun a new flight.
        let third = b.call(self.other)
        await self.other.untilStarted(2)
        #expect(b.group.observation.led == 1)
        #expect(b.group.observation.coalescedElsewhere == 1)
        self.other.finish()
        _ = await (second.value, third.value)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("calls that follow one another are not counted as coalesced")
    func oneAfterTheOther() async throws {
        let (a, b) = (try self.process("a"), try self.process("b"))
        self.work.finish()
        for process in [a, b, a, b] {
            _ = await process.call(self.work).value
            await process.store.untilIdle()
        }
        #expect(a.group.observation.led == 2)
        #expect(b.group.observation.led == 2)
        #expect(a.group.observation.coalesced + b.group.observation.coalesced == 0)
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("no call waits for the store, and what it would have become is counted when the store answers")
    func neverWaits() async throws {
        let a = try self.process("a")
        let gate = RequestGate()
        a.store.onRequest { $0 == .enter ? .replyHeld(gate) : .none }
        self.work.finish(.success("at once"))
        #expect(try await a.call(self.work).value.completion().result.get() == "at once")
        #expect(a.group.observation.undecided == 1)
        gate.open()
        await a.store.untilIdle()
        #expect(a.group.observation.undecided == 0)
        #expect(a.group.observation.led == 1)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a store that cannot be asked makes no call fail or wait")
    func unavailable() async throws {
        let a = try self.process("a")
        a.cutOff()
        self.work.finish(.success("unharmed"))
        let completion = try await a.call(self.work, unavailable: .fail).value.completion()
        #expect(try completion.result.get() == "unharmed")
        #expect(completion.coordination == .observed)
        self.cluster.clock.advance(by: .milliseconds(100))
        #expect(a.group.observation.unknown == 1)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("an error is its caller's own")
    func errors() async throws {
        let a = try self.process("a")
        let first = a.call(self.work)
        await self.work.untilStarted()
        self.other.finish(.success("fine"))
        #expect(try await a.call(self.other).value.completion().result.get() == "fine")
        self.work.finish(.failure(Failure()))
        let result = try await first.value.completion().result
        #expect(throws: Failure()) { try result.get() }
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a caller that is canceled, or waits no longer, leaves at once, and its operation is canceled")
    func leaves() async throws {
        let a = try self.process("a")
        let canceled = a.call(self.work)
        await self.work.untilStarted()
        canceled.cancel()
        #expect(await canceled.value.cancellation == .callerCanceled)
        await self.work.untilCanceled()
        let group = a.group
        let other = self.other
        let limited = Task {
            await group.run("key", waitingAtMost: .seconds(1)) { try await other.run($0) }
        }
        await self.other.untilStarted()
        self.cluster.clock.advance(by: .seconds(1))
        #expect(await limited.value.cancellation == .waitLimitReached)
        await self.other.untilCanceled()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("every entry leads, and counts like a call")
    func entries() async throws {
        let (a, b) = (try self.process("a"), try self.process("b"))
        let first = try await a.leads()
        let second = try await a.leads()
        let third = try await b.leads()
        #expect(first.isCurrent)
        #expect(a.group.observation.led == 1)
        #expect(a.group.observation.coalescedHere == 1)
        #expect(b.group.observation.coalescedElsewhere == 1)
        for leader in [first, second, third] {
            #expect(leader.complete(.success("own")))
            #expect(!leader.complete(.success("again")))
            #expect(try await leader.outcome().completion().coordination == .observed)
        }
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("groups that coalesce under the same name are not disturbed")
    func doesNotDisturb() async throws {
        let (a, b) = (try self.process("a"), try self.cluster.process("b"))
        let observed = a.call(self.work)
        await self.work.untilStarted()
        let coalesced = b.call(self.other)
        await self.other.untilStarted()
        self.other.finish(.success("b's"))
        #expect(try await coalesced.value.completion().role == .leader)
        self.work.finish()
        _ = await observed.value
        #expect(a.group.observation.led == 1)
        #expect(b.group.observation == ObservedCalls())
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("within the reuse time a call counts as one that would have been given an earlier result")
    func reuse() async throws {
        let configuration = DistributedGroupConfiguration.test {
            $0.mode = .observe
            $0.results.reuse = .seconds(1)
        }
        let a = try self.cluster.process("a", configuration)
        self.work.finish()
        for _ in 0..<2 {
            _ = await a.call(self.work).value
            await a.store.untilIdle()
        }
        #expect(a.group.observation.led == 1)
        #expect(a.group.observation.reused == 1)
        #expect(self.work.starts == 2)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a name that leaves no room for what the group keeps in the store is refused")
    func longName() throws {
        let store = InMemoryLeaseStore(server: self.cluster.server)
        let name = String(repeating: "n", count: 57)
        let error = #expect(throws: DistributedGroupError.self) {
            try DistributedGroup<String, String>(name, store: store, configuration: Self.configuration)
        }
        #expect(error?.code == .invalidConfiguration)
    }
}
