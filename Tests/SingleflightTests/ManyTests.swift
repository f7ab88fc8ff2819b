import Synchronization
import TestSupport
import Testing

@testable import Singleflight

@Suite("Calls for many keys")
struct ManyTests {
    let group = Group<String, Int>()
    static let policies: [CancellationPolicy] = [.whenAbandoned, .never, .withLeader]

    @Test("the operation gets all keys at once, each once, and every key gets its value", arguments: policies)
    func values(policy: CancellationPolicy) async throws {
        let runs = Mutex<[[String]]>([])
        let values = await self.group.values(["a", "bb", "a", "ccc"], cancellation: policy) { led in
            runs.withLock { $0.append(led.keys) }
            return Dictionary(uniqueKeysWithValues: led.keys.map { ($0, $0.count) })
        }
        #expect(try values.mapValues { try $0.get() } == ["a": 1, "bb": 2, "ccc": 3])
        #expect(runs.withLock { $0 } == [["a", "bb", "ccc"]])
        #expect(self.group.usedSlots == 0)
    }

    @Test("without keys nothing runs")
    func noKeys() async {
        let runs = Counter()
        let values = await self.group.values([]) { _ in
            runs.increment()
            return [:]
        }
        #expect(values.isEmpty)
        #expect(runs.value == 0)
    }

    @Test("keys that others compute are waited for, and are none of the operation's", arguments: policies)
    func joined(policy: CancellationPolicy) async throws {
        let group = self.group
        let gate = Gate()
        let other = Task.atOnce {
            await group.seen("b") {
                await gate.wait()
                return 20
            }
        }
        let many = Task.atOnce {
            await group.outcomes(of: ["a", "b", "c"], cancellation: policy) { led in
                #expect(led.keys == ["a", "c"])
                gate.open()
                return ["a": 1, "c": 3, "b": 99]
            }
        }
        let outcomes = await many.value.mapValues { Seen($0) }
        #expect(outcomes["a"] == .value(1, shared: false, .leader))
        #expect(outcomes["b"] == .value(20, shared: true, .subscriber))
        #expect(outcomes["c"] == .value(3, shared: false, .leader))
        #expect(await other.value == .value(20, shared: true, .leader))
        #expect(group.usedSlots == 0)
    }

    @Test("where all keys are computed by others, the operation does not run")
    func allJoined() async throws {
        let leader = try self.group.leader("a")
        let group = self.group
        let runs = Counter()
        let many = Task.atOnce {
            await group.outcomes(of: ["a"]) { _ in
                runs.increment()
                return [:]
            }
        }
        leader.complete(.success(7))
        #expect(await many.value.mapValues { Seen($0) } == ["a": .value(7, shared: true, .subscriber)])
        #expect(runs.value == 0)
    }

    @Test("a call for one of the keys gets what the operation for many returns", arguments: policies)
    func shared(policy: CancellationPolicy) async {
        let group = self.group
        let gate = Gate()
        let many = Task.atOnce {
            await group.outcomes(of: ["a", "b"], cancellation: policy) { _ in
                await gate.wait()
                return ["a": 1, "b": 2]
            }
        }
        await gate.untilArrived()
        let single = Task.atOnce { await group.seen("b") { 99 } }
        gate.open()
        #expect(await single.value == .value(2, shared: true, .subscriber))
        #expect(Seen(await many.value["b"] ?? .canceled(.left)) == .value(2, shared: true, .leader))
    }

    @Test("what the operation throws fails all its keys, and a key it leaves out fails alone", arguments: policies)
    func failures(policy: CancellationPolicy) async {
        let all = await self.group.outcomes(of: ["a", "b"], cancellation: policy) { _ in
            throw OperationError(number: 3)
        }
        #expect(all.mapValues { Seen($0) }["a"] == .failed(OperationError(number: 3), shared: false, .leader))
        #expect(all.mapValues { Seen($0) }["b"] == .failed(OperationError(number: 3), shared: false, .leader))
        let one = await self.group.values(["a", "b"], cancellation: policy) { _ in ["a": 1] }
        #expect(throws: Never.self) { try one["a"]?.get() }
        let error = #expect(throws: GroupError.self) { try one["b"]?.get() }
        #expect(error == GroupError(.noResult, key: "b"))
        #expect(error?.description == "the operation returned nothing for the key 'b'")
        #expect(self.group.usedSlots == 0)
    }

    @Test("a result that is handed in early is told early, and the first counts", arguments: policies)
    func early(policy: CancellationPolicy) async {
        let group = self.group
        let (handedIn, gate) = (Gate(), Gate())
        let many = Task.atOnce {
            await group.outcomes(of: ["a", "b", "c"], cancellation: policy) { led in
                await handedIn.wait()
                #expect(led.complete("a", with: .success(1)))
                #expect(!led.complete("a", with: .success(2)))
                #expect(led.complete("b", with: .failure(OperationError(number: 2))))
                #expect(!led.complete("z", with: .success(26)))
                await gate.wait()
                return ["a": 99, "b": 99, "c": 3]
            }
        }
        await handedIn.untilArrived()
        let single = Task.atOnce { await group.seen("a") { 99 } }
        handedIn.open()
        #expect(await single.value == .value(1, shared: true, .subscriber))
        gate.open()
        let outcomes = await many.value.mapValues { Seen($0) }
        #expect(outcomes["a"] == .value(1, shared: true, .leader))
        #expect(outcomes["b"] == .failed(OperationError(number: 2), shared: false, .leader))
        #expect(outcomes["c"] == .value(3, shared: false, .leader))
        #expect(group.usedSlots == 0)
    }

    @Test("two calls for the same keys in opposite order both end")
    func opposite() async throws {
        let group = self.group
        let gate = Gate()
        let first = Task.atOnce {
            await group.values(["a", "b"]) { led in
                await gate.wait()
                return Dictionary(uniqueKeysWithValues: led.keys.map { ($0, 1) })
            }
        }
        let second = Task.atOnce {
            await group.values(["c", "b", "a"]) { led in
                await gate.wait()
                return Dictionary(uniqueKeysWithValues: led.keys.map { ($0, 2) })
            }
        }
        await gate.untilArrived(2)
        gate.open()
        #expect(try await first.value.mapValues { try $0.get() } == ["a": 1, "b": 1])
        #expect(try await second.value.mapValues { try $0.get() } == ["a": 1, "b": 1, "c": 2])
    }

    @Test("the operation is canceled when the last of its keys is abandoned, and not before")
    func abandoned() async {
        let group = self.group
        let canceled = Gate.passed()
        let gate = Gate()
        let many = Task.atOnce {
            await group.outcomes(of: ["a", "b"]) { _ in
                do {
                    try await gate.waitUnlessCanceled()
                } catch {
                    await canceled.wait()
                    throw error
                }
                return ["a": 1, "b": 2]
            }
        }
        await gate.untilArrived()
        let single = Task.atOnce { await group.seen("b") { 99 } }
        many.cancel()
        #expect(await many.value.mapValues { Seen($0) } == ["a": .callerCanceled, "b": .callerCanceled])
        #expect(canceled.arrivals == 0, "somebody waits for one of the keys")
        #expect(group.inFlight == 1)
        single.cancel()
        #expect(await single.value == .callerCanceled)
        await canceled.untilArrived()
        #expect(group.inFlight == 0)
    }

    @Test("under `never` the operation runs to its end though nobody waits")
    func never() async {
        let group = self.group
        let gate = Gate()
        let ended = Gate.passed()
        let many = Task.atOnce {
            await group.outcomes(of: ["a"], cancellation: .never) { _ in
                await gate.wait()
                #expect(!Task.isCancelled)
                await ended.wait()
                return ["a": 1]
            }
        }
        await gate.untilArrived()
        many.cancel()
        #expect(await many.value.mapValues { Seen($0) } == ["a": .callerCanceled])
        gate.open()
        await ended.untilArrived()
    }

    @Test("under `withLeader` the operation runs in the caller's task, and a canceled caller's error is its own")
    func withLeader() async {
        let group = self.group
        let gate = Gate()
        let many = Task.atOnce {
            await group.outcomes(of: ["a", "b"], cancellation: .withLeader) { led in
                led.complete("a", with: .success(1))
                try await gate.waitUnlessCanceled()
                return ["b": 2]
            }
        }
        await gate.untilArrived()
        let single = Task.atOnce { await group.seen("b") { 99 } }
        many.cancel()
        let outcomes = await many.value.mapValues { Seen($0) }
        #expect(outcomes == ["a": .value(1, shared: false, .leader), "b": .callerCanceled])
        #expect(await single.value == .leaderLeft)
        #expect(group.usedSlots == 0)
    }

    @Test("inside of the operation each of its keys is refused, also in a call for many")
    func reentrant() async {
        let group = self.group
        let outcomes = await group.outcomes(of: ["a", "b"]) { _ in
            #expect(await group.seen("b") { 99 }.isRefusal)
            let inner = await group.outcomes(of: ["a", "c"]) { led in
                #expect(led.keys == ["c"])
                return ["c": 3]
            }
            #expect(Seen(inner["a"] ?? .canceled(.left)).isRefusal)
            #expect(Seen(inner["c"] ?? .canceled(.left)) == .value(3, shared: false, .leader))
            return ["a": 1, "b": 2]
        }
        #expect(outcomes.mapValues { Seen($0) }["a"] == .value(1, shared: false, .leader))
    }

    @Test("two calls whose operations wait for one another's keys are refused, not hung")
    func circle() async {
        let group = self.group
        let both = Gate()
        let first = Task.atOnce {
            await group.outcomes(of: ["a"]) { _ in
                await both.wait()
                let inner = await group.outcomes(of: ["x", "b"]) { _ in ["x": 1] }
                return Seen(inner["b"] ?? .canceled(.left)).isRefusal ? ["a": -1] : ["a": 1]
            }
        }
        let second = Task.atOnce {
            await group.outcomes(of: ["b"]) { _ in
                await both.wait()
                let inner = await group.outcomes(of: ["y", "a"]) { _ in ["y": 1] }
                return Seen(inner["a"] ?? .canceled(.left)).isRefusal ? ["b": -1] : ["b": 1]
            }
        }
        await both.untilArrived(2)
        both.open()
        let seen = [await first.value["a"], await second.value["b"]].map { Seen($0 ?? .canceled(.left)) }
        #expect(seen.contains { $0 == .value(-1, shared: true, .leader) || $0 == .value(-1, shared: false, .leader) })
    }

    @Test("a key with too many waiting callers is refused, the others are not")
    func full() async throws {
        let group = Group<String, Int>(.init(maximumWaitersPerKey: 0))
        let leader = try group.leader("a")
        let outcomes = await group.outcomes(of: ["a", "b"]) { led in
            #expect(led.keys == ["b"])
            return ["b": 2]
        }
        #expect(Seen(outcomes["a"] ?? .canceled(.left)).isRefusal)
        #expect(Seen(outcomes["b"] ?? .canceled(.left)) == .value(2, shared: false, .leader))
        leader.cancel()
    }

    @Test("a canceled caller begins nothing")
    func canceledBefore() async {
        let group = self.group
        let runs = Counter()
        let outcomes = await Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return await group.outcomes(of: ["a", "b"]) { _ in
                runs.increment()
                return [:]
            }
        }.value
        #expect(outcomes.mapValues { Seen($0) } == ["a": .callerCanceled, "b": .callerCanceled])
        #expect(runs.value == 0)
    }

    @Test("outcomes are told as they come, each once", arguments: policies)
    func each(policy: CancellationPolicy) async throws {
        var leader: Group<String, Int>.Leader? = try self.group.leader("slow")
        let stream = self.group.eachOutcome(of: ["slow", "fast"], cancellation: policy) { _ in ["fast": 1] }
        var seen: [String] = []
        for await (key, outcome) in stream {
            seen.append(key)
            if key == "fast" {
                #expect(Seen(outcome) == .value(1, shared: false, .leader))
                leader?.complete(.success(2))
                leader = nil
            } else {
                #expect(Seen(outcome) == .value(2, shared: true, .subscriber))
            }
        }
        #expect(seen == ["fast", "slow"])
        #expect(self.group.usedSlots == 0)
    }

    @Test("a reader that stops leaves the flights")
    func readerStops() async throws {
        let group = self.group
        let canceled = Gate.passed()
        let gate = Gate()
        let reader = Task.atOnce {
            let stream = group.eachOutcome(of: ["a", "b"]) { led in
                led.complete("a", with: .success(1))
                do {
                    try await gate.waitUnlessCanceled()
                } catch {
                    await canceled.wait()
                    throw error
                }
                return ["b": 2]
            }
            for await (key, _) in stream {
                return key
            }
            return ""
        }
        #expect(await reader.value == "a")
        await canceled.untilArrived()
        #expect(group.inFlight == 0)
    }

    @Test("ten thousand callers of overlapping keys: every key is computed once at a time, and all get its value")
    func storm() async {
        let group = Group<Int, Int>()
        let computed = Counter()
        await withTaskGroup(of: Void.self) { tasks in
            for caller in 0..<1000 {
                tasks.addTask {
                    let keys = (0..<10).map { (caller * 7 + $0 * 13) % 50 }
                    let values = await group.values(caller.isMultiple(of: 2) ? keys : keys.reversed()) { led in
                        computed.increment()
                        return Dictionary(uniqueKeysWithValues: led.keys.map { ($0, $0 * 2) })
                    }
                    #expect(values.count == Set(keys).count)
                    #expect(values.allSatisfy { key, value in (try? value.get()) == key * 2 })
                }
            }
        }
        #expect(computed.value > 0)
        #expect(group.usedSlots == 0)
    }
}

extension Gate {
    /// A gate that stands open: it only tells how many came.
    fileprivate static func passed() -> Gate {
        let gate = Gate()
        gate.open()
        return gate
    }
}
