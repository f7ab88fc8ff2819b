import Singleflight
import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

@Suite("Calls for many keys, across processes", .timeLimit(.minutes(4)))
struct ManyTests {
    let cluster: Cluster
    let work = ManyWork()
    let other = ManyWork()

    init() throws {
        self.cluster = try Cluster()
    }

    private func key(_ name: String) throws -> FlightKey {
        try FlightKey(group: "group", bytes: Array(name.utf8))
    }

    @Test("the operation gets all keys at once, and every key its value under a token of its own")
    func values() async throws {
        let a = try self.cluster.process("a")
        self.work.finish()
        let outcomes = await a.many(["x", "y", "x", "z"], self.work).value
        #expect(try outcomes.mapValues { try $0.completion().result.get() } == ["x": "x!", "y": "y!", "z": "z!"])
        #expect(Set(try outcomes.values.map { try $0.completion().token }).count == 3)
        #expect(try outcomes.values.allSatisfy { try $0.completion().role == .leader })
        #expect(self.work.runs == [["x", "y", "z"]])
        await self.cluster.expectNothingLeft(a)
    }

    @Test("without keys nothing runs")
    func noKeys() async throws {
        let a = try self.cluster.process("a")
        #expect(await a.many([], self.work).value.isEmpty)
        #expect(self.work.runs.isEmpty)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("keys that another process computes are waited for, and are none of the operation's")
    func followed() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let first = a.many(["x", "y"], self.work)
        await self.work.untilStarted()
        let second = b.many(["y", "z", "x"], self.other)
        await self.other.untilStarted()
        #expect(self.other.runs == [["z"]])
        self.other.finish()
        self.work.finish()
        let outcomes = await second.value
        #expect(try outcomes.mapValues { try $0.completion().result.get() } == ["x": "x!", "y": "y!", "z": "z!"])
        #expect(try outcomes.mapValues { try $0.completion().role } == ["x": .follower, "y": .follower, "z": .leader])
        #expect(try await first.value.mapValues { try $0.completion().isShared } == ["x": true, "y": true])
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("two processes that ask for the same keys in opposite order both end, and each key is computed once")
    func opposite() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        // The first request of each process is held back, so that each comes to lead one of the two keys.
        let gates = [RequestGate(), RequestGate()]
        for (process, gate) in zip([a, b], gates) {
            let isFirst = Mutex(true)
            process.store.onRequest { operation in
                guard operation == .enter else { return .none }
                return isFirst.withLock { first in
                    defer { first = false }
                    return first ? .none : .requestHeld(gate)
                }
            }
        }
        let calls = [a.many(["x", "y"], self.work), b.many(["y", "x"], self.other)]
        for gate in gates { await gate.untilHeld() }
        #expect(self.work.runs.isEmpty && self.other.runs.isEmpty, "the second key is not known yet")
        for gate in gates { gate.open() }
        await self.work.untilStarted()
        await self.other.untilStarted()
        #expect(self.work.runs == [["x"]])
        #expect(self.other.runs == [["y"]])
        self.work.finish()
        self.other.finish()
        for call in calls {
            #expect(try await call.value.mapValues { try $0.completion().result.get() } == ["x": "x!", "y": "y!"])
        }
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a key of which the store says nothing holds up the others for a quarter of the command timeout only")
    func gathering() async throws {
        let a = try self.cluster.process("a")
        let gate = RequestGate()
        let requests = Counter()
        a.store.onRequest { operation in
            guard operation == .enter else { return .none }
            requests.increment()
            return requests.value == 2 ? .requestHeld(gate) : .none
        }
        let call = a.many(["x", "y", "z"], self.work)
        await gate.untilHeld()
        #expect(self.work.runs.isEmpty)
        self.cluster.clock.advance(by: a.store.commandTimeout / 4)
        await self.work.untilStarted()
        #expect(self.work.runs == [["x", "z"]])
        gate.open()
        await self.work.untilStarted(2)
        #expect(self.work.runs == [["x", "z"], ["y"]], "all keys are known: nothing is gathered any more")
        self.work.finish()
        #expect(
            try await call.value.mapValues { try $0.completion().result.get() } == ["x": "x!", "y": "y!", "z": "z!"]
        )
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a key whose leader is lost is given to a further run of the operation")
    func takeover() async throws {
        let configuration = DistributedGroupConfiguration.test { $0.lease.leaderLoss = .takeOver(attempts: 2) }
        let (a, b) = (try self.cluster.process("a", configuration), try self.cluster.process("b", configuration))
        let single = Work()
        let lost = a.call(single)
        await single.untilStarted()
        let call = b.many(["key", "y"], self.work)
        await self.work.untilStarted()
        #expect(self.work.runs == [["y"]])
        await self.cluster.untilFollowed(by: 1)
        a.cutOff()
        self.cluster.clock.advance(by: .milliseconds(3400))
        _ = await lost.value
        // The key that is led now is gathered with others that may come.
        await self.cluster.clock.untilScheduled()
        self.cluster.clock.advance(by: .milliseconds(10))
        await self.work.untilStarted(2)
        #expect(self.work.runs == [["y"], ["key"]])
        self.work.finish()
        let outcomes = await call.value
        #expect(try outcomes.mapValues { try $0.completion().result.get() } == ["key": "key!", "y": "y!"])
        #expect(try outcomes["key"]?.completion().attempts == 2)
        await self.cluster.expectNothingLeft(b)
    }

    @Test("where the store cannot be asked the operation runs once for all keys by the policy, or every key fails")
    func unavailable() async throws {
        let a = try self.cluster.process("a")
        a.cutOff()
        self.work.finish()
        let local = a.many(["x", "y"], self.work, unavailable: .runLocally)
        let clock = self.cluster.clock
        await clock.untilScheduled(3)
        clock.advance(by: .milliseconds(100))
        let outcomes = await local.value
        #expect(try outcomes.mapValues { try $0.completion().result.get() } == ["x": "x!", "y": "y!"])
        #expect(try outcomes.values.allSatisfy { try $0.completion().coordination == .degraded })
        #expect(self.work.runs == [["x", "y"]])
        let failing = a.many(["x", "y"], self.other, unavailable: .fail)
        await clock.untilScheduled(3)
        clock.advance(by: .milliseconds(100))
        let failed = await failing.value
        for outcome in failed.values {
            let error = #expect(throws: DistributedGroupError.self) { try outcome.get() }
            #expect(error?.code == .unavailable)
        }
        #expect(failed.count == 2)
        #expect(self.other.runs.isEmpty)
        self.cluster.letRequestsLapse()
        await self.cluster.expectNothingLeft(a)
    }

    @Test("what the operation throws fails all its keys, and a key it leaves out fails alone, everywhere the same")
    func failures() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let first = a.many(["x", "key"], self.work)
        await self.work.untilStarted()
        let second = b.many(["key"], self.other)
        await self.cluster.untilFollowed(by: 1)
        self.work.finish(.success(["x": "x!"]))
        let here = await first.value
        #expect(try here["x"]?.completion().result.get() == "x!")
        for outcome in [here["key"], await second.value["key"]] {
            let error = #expect(throws: DistributedGroupError.self) { try outcome?.get() }
            #expect(error?.code == .noResult)
            #expect(error?.message.hasSuffix("the operation returned nothing for the key 'key'") ?? false)
        }
        self.other.finish(.failure(Failure()))
        for outcome in await b.many(["x", "y"], self.other).value.values {
            let error = #expect(throws: RemoteFailure.self) { try outcome.get() }
            #expect(error?.original as? Failure == Failure())
        }
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a result that is handed in early is told early, here and elsewhere, and the first counts")
    func early() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let (started, gate) = (Gate(), Gate())
        let group = a.group
        let call = Task {
            await group.outcomes(of: ["key", "y"]) { led in
                await started.wait()
                #expect(led.complete("key", with: .success("early")))
                #expect(!led.complete("key", with: .success("second")))
                #expect(!led.complete("unasked", with: .success("?")))
                await gate.wait()
                return ["key": "late", "y": "y!"]
            }
        }
        await started.untilArrived()
        let follower = b.call(Work())
        await self.cluster.untilFollowed(by: 1)
        started.open()
        #expect(try await follower.value.completion().result.get() == "early")
        gate.open()
        #expect(try await call.value.mapValues { try $0.completion().result.get() } == ["key": "early", "y": "y!"])
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("the first result of a key counts, also where a slow codec works on it when the operation ends")
    func earlyAndSlow() async throws {
        let held = Mutex<[@Sendable () -> Void]>([])
        let store = InMemoryLeaseStore(server: self.cluster.server, label: "a")
        let group = try DistributedGroup<String, String>(
            "group",
            store: store,
            configuration: .test,
            codec: SlowCodec(),
            runtime: FlightRuntime(offload: { work in held.withLock { $0.append(work) } }, random: { .system })
        )
        let call = Task {
            await group.outcomes(of: ["x", "y"]) { led in
                #expect(led.complete("x", with: .success("early")))
                return ["x": "late", "y": "y!"]
            }
        }
        // The early result of one key, and the later one of the other.
        try await until("two results wait for the codec") { held.withLock { $0.count } == 2 }
        for work in held.withLock({ $0.reversed() }) { work() }
        #expect(try await call.value.mapValues { try $0.completion().result.get() } == ["x": "early", "y": "y!"])
        #expect(held.withLock { $0.count } == 2)
    }

    @Test("the operation is canceled when no result is wanted any more, and not before")
    func canceled() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let call = a.many(["x", "key"], self.work)
        await self.work.untilStarted()
        let follower = b.call(Work())
        await self.cluster.untilFollowed(by: 1)
        call.cancel()
        #expect(await call.value.mapValues(\.cancellation) == ["x": .callerCanceled, "key": .callerCanceled])
        #expect(self.work.cancellations == 0, "another process waits for one of the keys")
        follower.cancel()
        #expect(await follower.value.cancellation == .callerCanceled)
        self.cluster.clock.advance(by: .seconds(1))
        await self.work.untilCanceled()
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a caller that is canceled before anything is known leaves nothing behind")
    func canceledEarly() async throws {
        let a = try self.cluster.process("a")
        let gate = RequestGate()
        a.store.onRequest { $0 == .enter ? .requestHeld(gate) : .none }
        let call = a.many(["x", "y"], self.work)
        await gate.untilHeld(2)
        call.cancel()
        #expect(await call.value.mapValues(\.cancellation) == ["x": .callerCanceled, "y": .callerCanceled])
        a.store.onRequest { _ in .none }
        gate.open()
        await a.store.untilIdle()
        self.cluster.letRequestsLapse()
        #expect(self.work.runs.isEmpty)
        await self.cluster.expectNothingLeft(a)
    }

    @Test("each key is waited for no longer than the limit")
    func limit() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let single = Work()
        let leader = a.call(single)
        await single.untilStarted()
        let group = b.group
        let work = self.work
        let call = Task {
            await group.outcomes(of: ["key", "y"], waitingAtMost: .milliseconds(700)) { try await work.run($0) }
        }
        await self.work.untilStarted()
        self.work.finish()
        await self.cluster.untilFollowed(by: 1)
        try await until("the other key has its value") { group.inFlight == 1 }
        self.cluster.clock.advance(by: .milliseconds(700))
        let outcomes = await call.value
        #expect(outcomes["key"]?.cancellation == .waitLimitReached)
        #expect(try outcomes["y"]?.completion().result.get() == "y!")
        leader.cancel()
        _ = await leader.value
    }

    @Test("inside of the operation each of its keys is refused, alone and among others")
    func reentrant() async throws {
        let a = try self.cluster.process("a")
        let group = a.group
        let outcomes = await group.outcomes(of: ["x", "y"]) { _ in
            let alone = await group.run("y") { _ in "?" }
            #expect(alone.cancellation?.code == .refused)
            let inner = await group.outcomes(of: ["x", "z"]) { led in
                #expect(led.keys == ["z"])
                return ["z": "z!"]
            }
            #expect(inner["x"]?.cancellation?.code == .refused)
            #expect((try? inner["z"]?.get()) == "z!")
            return ["x": "x!", "y": "y!"]
        }
        #expect(try outcomes.mapValues { try $0.completion().result.get() } == ["x": "x!", "y": "y!"])
        await self.cluster.expectNothingLeft(a)
    }

    @Test("two calls whose operations ask for one another's keys are refused, not hung")
    func circle() async throws {
        let a = try self.cluster.process("a")
        let group = a.group
        let both = Gate()
        func call(_ own: String, _ asked: [String]) -> Task<Outcome<String>?, Never> {
            Task {
                await group.outcomes(of: [own]) { _ in
                    await both.wait()
                    let inner = await group.outcomes(of: asked) { led in
                        Dictionary(uniqueKeysWithValues: led.keys.map { ($0, "inner") })
                    }
                    return [own: inner.values.contains { $0.cancellation?.code == .refused } ? "refused" : "told"]
                }[own]
            }
        }
        let calls = [call("x", ["z", "y"]), call("y", ["x"])]
        await both.untilArrived(2)
        both.open()
        var seen: [String?] = []
        for call in calls { seen.append(try await call.value?.get()) }
        #expect(seen.contains("refused"))
        // Once they are over, each may wait for the other's key.
        #expect(try await group.value("x") { _ in try await group.value("y") { _ in "fresh" } } == "fresh")
        await self.cluster.expectNothingLeft(a)
    }

    @Test("a group that only observes runs the operation for all keys, and counts each call")
    func observed() async throws {
        let configuration = DistributedGroupConfiguration.test { $0.mode = .observe }
        let (a, b) = (try self.cluster.process("a", configuration), try self.cluster.process("b", configuration))
        let first = a.many(["x", "y"], self.work)
        await self.work.untilStarted()
        self.other.finish()
        #expect(
            try await b.many(["y", "z"], self.other).value.mapValues { try $0.completion().result.get() } == [
                "y": "y!", "z": "z!",
            ]
        )
        #expect(self.other.runs == [["y", "z"]])
        #expect(b.group.observation.calls == 2)
        #expect(b.group.observation.coalescedElsewhere == 1)
        self.work.finish()
        _ = await first.value
        await self.cluster.expectNothingLeft(a, b)
    }

    @Test("a key that callers of this process wait for already is joined")
    func joinedHere() async throws {
        let a = try self.cluster.process("a")
        let single = Work()
        let leader = a.call(single)
        await single.untilStarted()
        let call = a.many(["key", "y"], self.work)
        await self.work.untilStarted()
        #expect(self.work.runs == [["y"]])
        self.work.finish()
        single.finish(.success("single"))
        let outcomes = await call.value
        #expect(try outcomes.mapValues { try $0.completion().result.get() } == ["key": "single", "y": "y!"])
        #expect(try outcomes.mapValues { try $0.completion().role } == ["key": .subscriber, "y": .leader])
        _ = await leader.value
        await self.cluster.expectNothingLeft(a)
    }

    @Test("outcomes are told as they come, and a reader that stops leaves the rest")
    func each() async throws {
        let (a, b) = (try self.cluster.process("a"), try self.cluster.process("b"))
        let single = Work()
        let leader = a.call(single)
        await single.untilStarted()
        let group = b.group
        self.work.finish()
        let work = self.work
        let reader = Task {
            for await (key, outcome) in group.eachOutcome(of: ["key", "y"], operation: { try await work.run($0) }) {
                #expect(key == "y")
                #expect((try? outcome.get()) == "y!")
                break
            }
        }
        await reader.value
        await self.cluster.server.untilWaiters(of: self.cluster.key, 0)
        single.finish()
        #expect(try await leader.value.completion().isShared == false)
        await self.cluster.expectNothingLeft(a, b)
    }
}

/// An operation for many keys whose end the test decides; the value of each key is the key and an exclamation mark.
final class ManyWork: Sendable {
    private struct State {
        var runs: [[String]] = []
        var result: Result<[String: String], any Error>?
        var hasFinished = false
    }

    private let state = Mutex(State())
    private let started = Gate("an operation for many keys")
    private let canceled = Gate("the cancellation of an operation for many keys")
    private let end = Gate("the end of an operation for many keys")

    init() {
        self.started.open()
        self.canceled.open()
    }

    /// The keys of each run.
    var runs: [[String]] { self.state.withLock { $0.runs } }
    var cancellations: Int { self.canceled.arrivals }

    func run(_ led: DistributedGroup<String, String>.LedKeys) async throws -> [String: String] {
        self.state.withLock { $0.runs.append(led.keys) }
        #expect(led.flights.map(\.key) == led.keys)
        await self.started.wait()
        do {
            try await self.end.waitUnlessCanceled()
        } catch {
            await self.canceled.wait()
            throw error
        }
        let all = Dictionary(uniqueKeysWithValues: led.keys.map { ($0, "\($0)!") })
        return try self.state.withLock { $0.result }?.get() ?? all
    }

    func finish(_ result: Result<[String: String], any Error>? = nil) {
        self.state.withLock { $0.result = result }
        self.end.open()
    }

    func untilStarted(_ count: Int = 1) async { await self.started.untilArrived(count) }
    func untilCanceled() async { await self.canceled.untilArrived() }
}

/// JSON, by a codec that may block.
private struct SlowCodec: FlightCodec {
    let identifier = "slow/1"
    let isQuick = false

    func encode(_ value: String) throws -> [UInt8] { try JSONCodec<String>().encode(value) }
    func decode(_ bytes: [UInt8]) throws -> String { try JSONCodec<String>().decode(bytes) }
}

extension Process {
    fileprivate func many(
        _ keys: [String],
        _ work: ManyWork,
        unavailable: UnavailablePolicy? = nil
    ) -> Task<[String: Outcome<String>], Never> {
        let group = self.group
        return Task { await group.outcomes(of: keys, unavailable: unavailable) { try await work.run($0) } }
    }
}
