import NIOCore
import Testing

@testable import HiredisClient

/// Shard channels are subscribed to where their slots are, and nobody is left deaf.
@Suite("Subscriptions to shard channels")
struct ShardMachineTests {
    private static let (a, b) = (NodeAddress(host: "a", port: 1), NodeAddress(host: "b", port: 1))
    private static let (one, two) = (HashSlot(of: "{1}"), HashSlot(of: "{2}"))

    private static func time(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(0) + .milliseconds(milliseconds)
    }

    private static func everyone(_ node: NodeAddress?) -> (HashSlot) -> NodeAddress? { { _ in node } }

    /// A machine with one channel that is subscribed to at a.
    private static func subscribed() -> ShardMachine {
        var machine = ShardMachine()
        _ = machine.want("one", slot: one, tag: 1, owner: everyone(a), now: time(0))
        _ = machine.answered("one", attempt: 1, .acknowledged, owner: everyone(a), now: time(0), random: 0.5)
        return machine
    }

    private func expectNothing(_ steps: [ShardMachine.Step], at location: SourceLocation = #_sourceLocation) {
        #expect(steps.isEmpty, sourceLocation: location)
    }

    @Test("each channel has a SSUBSCRIBE of its own, and each acknowledgement is told")
    func oneEach() {
        var machine = ShardMachine()
        let first = machine.want("one", slot: Self.one, tag: 1, owner: Self.everyone(Self.a), now: Self.time(0))
        let second = machine.want("two", slot: Self.two, tag: 2, owner: Self.everyone(Self.a), now: Self.time(0))
        #expect(first == [.subscribe(channel: "one", at: Self.a, attempt: 1)])
        #expect(second == [.subscribe(channel: "two", at: Self.a, attempt: 1)])
        expectNothing(machine.want("one", slot: Self.one, tag: 1, owner: Self.everyone(Self.a), now: Self.time(0)))
        let told = machine.answered(
            "two",
            attempt: 1,
            .acknowledged,
            owner: Self.everyone(Self.a),
            now: Self.time(1),
            random: 0.5
        )
        #expect(told == [.resumed(tag: 2)])
        #expect(machine.subscribed == [Self.a: ["two"]])
    }

    @Test("without a table a subscription waits for it")
    func waitsForTable() {
        var machine = ShardMachine()
        expectNothing(machine.want("one", slot: Self.one, tag: 1, owner: Self.everyone(nil), now: Self.time(0)))
        let steps = machine.topologyChanged(owner: Self.everyone(Self.b), now: Self.time(5))
        #expect(steps == [.subscribe(channel: "one", at: Self.b, attempt: 1)])
    }

    @Test("one that was never answered is sent again: its deadline is the sender's")
    func noAnswer() {
        var machine = ShardMachine()
        _ = machine.want("one", slot: Self.one, tag: 1, owner: Self.everyone(Self.a), now: Self.time(0))
        let steps = machine.answered(
            "one",
            attempt: 1,
            .failed,
            owner: Self.everyone(Self.a),
            now: Self.time(1000),
            random: 1
        )
        #expect(steps == [.refreshTopology, .wake(at: Self.time(1010))])
        let again = machine.woke(owner: Self.everyone(Self.a), now: Self.time(1010))
        #expect(again == [.subscribe(channel: "one", at: Self.a, attempt: 2)])
        // The late answer to the first is of no interest.
        let late = machine.answered(
            "one",
            attempt: 1,
            .acknowledged,
            owner: Self.everyone(Self.a),
            now: Self.time(1011),
            random: 1
        )
        #expect(late.isEmpty)
    }

    @Test("MOVED is followed at once the first time, and makes the topology be asked for")
    func moved() {
        var machine = ShardMachine()
        _ = machine.want("one", slot: Self.one, tag: 1, owner: Self.everyone(Self.a), now: Self.time(0))
        let steps = machine.answered(
            "one",
            attempt: 1,
            .moved,
            owner: Self.everyone(Self.b),
            now: Self.time(1),
            random: 1
        )
        #expect(steps == [.refreshTopology, .subscribe(channel: "one", at: Self.b, attempt: 2)])
        let again = machine.answered(
            "one",
            attempt: 2,
            .moved,
            owner: Self.everyone(Self.a),
            now: Self.time(2),
            random: 1
        )
        #expect(again == [.refreshTopology, .wake(at: Self.time(22))])
    }

    @Test("a slot that leaves: lost, topology, subscribed anew")
    func unsubscribed() {
        var machine = Self.subscribed()
        let steps = machine.unsubscribed("one", by: Self.a, owner: Self.everyone(Self.b), now: Self.time(9))
        #expect(steps == [.lost(tag: 1), .subscribe(channel: "one", at: Self.b, attempt: 2), .refreshTopology])
        // A push of the node that it was at before.
        expectNothing(machine.unsubscribed("one", by: Self.a, owner: Self.everyone(Self.b), now: Self.time(9)))
        expectNothing(machine.unsubscribed("never", by: Self.a, owner: Self.everyone(Self.b), now: Self.time(9)))
    }

    @Test("a slot whose move was told by the topology alone is subscribed to anew as well")
    func movedSilently() {
        var machine = Self.subscribed()
        expectNothing(machine.topologyChanged(owner: Self.everyone(Self.a), now: Self.time(1)))
        let steps = machine.topologyChanged(owner: Self.everyone(Self.b), now: Self.time(2))
        #expect(steps == [.lost(tag: 1), .subscribe(channel: "one", at: Self.b, attempt: 2)])
    }

    @Test("a node that is gone, and one that forgot without a word")
    func gone() {
        var machine = Self.subscribed()
        let lost = machine.nodeLost(Self.a, owner: Self.everyone(Self.a), now: Self.time(1))
        #expect(lost == [.lost(tag: 1), .subscribe(channel: "one", at: Self.a, attempt: 2), .refreshTopology])
        machine = Self.subscribed()
        let missing = machine.missing("one", at: Self.a, owner: Self.everyone(Self.a), now: Self.time(1))
        #expect(missing == [.lost(tag: 1), .subscribe(channel: "one", at: Self.a, attempt: 2)])
        expectNothing(machine.nodeLost(Self.b, owner: Self.everyone(Self.a), now: Self.time(2)))
    }

    @Test("a right that is missing is asked for again, rarely")
    func refused() {
        var machine = ShardMachine()
        _ = machine.want("one", slot: Self.one, tag: 1, owner: Self.everyone(Self.a), now: Self.time(0))
        let steps = machine.answered(
            "one",
            attempt: 1,
            .refused,
            owner: Self.everyone(Self.a),
            now: Self.time(0),
            random: 1
        )
        #expect(steps == [.wake(at: Self.time(10_000))])
    }
}
