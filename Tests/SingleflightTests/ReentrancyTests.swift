import TestSupport
import Testing

@testable import Singleflight

@Suite("Re-entrancy")
struct ReentrancyTests {
    let group = Group<String, Int>()

    @Test(
        "an operation that asks for its own key gets an error that names it",
        arguments: [.whenAbandoned, .never, .withLeader] as [CancellationPolicy]
    )
    func direct(policy: CancellationPolicy) async {
        let group = self.group
        let error = await #expect(throws: GroupError.self) {
            try await group.value("key", cancellation: policy) { try await group.value("key") { 1 } }
        }
        #expect(error?.code == .reentrantCall)
        #expect(error?.key == "key")
        #expect(group.usedSlots == 0)
    }

    @Test("re-entrancy is found through other keys and child tasks")
    func nested() async {
        let group = self.group
        let error = await #expect(throws: GroupError.self) {
            try await group.value("a") {
                try await group.value("b") {
                    async let inner = group.value("a") { 1 }
                    return try await inner
                }
            }
        }
        #expect(error?.code == .reentrantCall)
        #expect(error?.key == "a")
    }

    @Test("of two operations that ask for one another's key the one that closes the circle is refused, with the way")
    func circle() async throws {
        let group = Group<String, String>()
        let both = Gate("both operations")
        @Sendable func call(_ key: String, then other: String) async throws -> String {
            try await group.value(key) {
                await both.wait()
                do {
                    return try await group.value(other) { "nobody waits for \(key)" }
                } catch let error as GroupError {
                    return "\(error.code) \(error.key): \(error.path)"
                }
            }
        }
        async let a = call("a", then: "b")
        async let b = call("b", then: "a")
        await both.untilArrived(2)
        both.open()
        let values = [try await a, try await b]
        let refusals = [#"reentrantCall a: ["b", "a", "b"]"#, #"reentrantCall b: ["a", "b", "a"]"#]
        #expect(values[0] == values[1])
        #expect(refusals.contains(values[0]), "\(values)")
        #expect(try await group.value("a") { try await group.value("b") { "free" } } == "free")
    }

    @Test("a circle of waits is found through any number of flights, and only while it is one")
    func waits() throws {
        let nodes = (0..<5).map { _ in FlightWaits.Node(shard: ShardNumber.next()) }
        var waits: [FlightWaits.Wait] = []
        func begin(_ from: Int, _ to: Int) -> [String]? {
            switch FlightWaits.begin(from: [nodes[from]], to: nodes[to], name: "\(to)") {
            case .waits(let wait):
                waits.append(wait)
                return nil
            case .circle(let names):
                return names
            }
        }
        for index in 0..<4 { #expect(begin(index, index + 1) == nil) }
        #expect(begin(0, 4) == nil, "another way to the same flight is no circle")
        let names = try #require(begin(4, 0))
        #expect(names.first == "0")
        #expect(names.last == "4")
        waits[2].end()
        #expect(begin(4, 2) == nil)
        #expect(begin(4, 1) == nil, "from the second the fourth is no longer waited for")
        #expect(begin(0, 4) == nil, "the same wait twice")
        for wait in waits { wait.end() }
        #expect(begin(4, 0) == nil)
        waits.last?.end()
    }

    @Test("an operation may ask for other keys, and other groups for the same key")
    func allowed() async throws {
        let group = self.group
        let other = Group<String, Int>()
        let value = try await group.value("a") {
            try await group.value("b") { 1 } + other.value("a") { 2 }
        }
        #expect(value == 3)
    }

    @Test("an operation whose flight was forgotten may ask for its key, as it would not wait for itself")
    func forgotten() async throws {
        let group = self.group
        let value = try await group.value("key") {
            group.forget("key")
            return try await group.value("key") { 7 }
        }
        #expect(value == 7)
    }

    @Test("a task that an operation leaves behind may ask for its key later")
    func leftBehind() async throws {
        let group = self.group
        let gate = Gate()
        let (stream, continuation) = AsyncStream.makeStream(of: Seen.self)
        _ = try await group.value("key") {
            Task {
                await gate.wait()
                continuation.yield(await group.seen("key") { 7 })
            }
            return 1
        }
        gate.open()
        var iterator = stream.makeAsyncIterator()
        #expect(await iterator.next() == .value(7, shared: false, .leader))
    }

    @Test("work performed by a leader's handle is refused its own key too, also as a handle")
    func handles() async throws {
        let group = self.group
        let leader = try group.leader("key")
        let seen = try await leader.onBehalf {
            let subscriber = try group.subscriber("key")
            return [await group.seen("key") { 1 }, await subscriber.seen()]
        }
        #expect(seen.map(\.isRefusal) == [true, true])
        #expect(leader.subscriberCount == 0)
    }
}
