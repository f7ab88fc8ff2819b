import NIOCore
import Testing

@testable import HiredisClient

/// The value where expectations may change it.
private final class Lanes {
    private var value = RequestLanes<String>()

    var count: Int { value.count }

    func submit(_ entry: RequestLanes<String>.Entry, to node: NodeAddress) -> Bool {
        value.submit(entry, to: node)
    }

    func answered(
        _ order: RedisOrder,
        sequence: UInt64,
        wasCarriedOut: Bool,
        owner: NodeAddress,
        now: NIODeadline
    ) -> [RequestLanes<String>.Step] {
        value.answered(order, sequence: sequence, wasCarriedOut: wasCarriedOut, owner: owner, now: now)
    }

    func sendBack(
        _ entry: RequestLanes<String>.Entry,
        owner: NodeAddress,
        now: NIODeadline
    ) -> [RequestLanes<String>.Step] {
        value.sendBack(entry, owner: owner, now: now)
    }

    func resume(_ order: RedisOrder, owner: NodeAddress, now: NIODeadline) -> [RequestLanes<String>.Step] {
        value.resume(order, owner: owner, now: now)
    }

    func woke(_ order: RedisOrder, owner: NodeAddress, now: NIODeadline) -> [RequestLanes<String>.Step] {
        value.woke(order, owner: owner, now: now)
    }

    func takeWaiting(_ order: RedisOrder, sequence: UInt64) -> RequestLanes<String>.Entry? {
        value.takeWaiting(order, sequence: sequence)
    }

    func takeAllWaiting() -> [RequestLanes<String>.Entry] { value.takeAllWaiting() }
}

/// Requests of one order keep their sequence while their slot moves.
@Suite("Requests of one order on a cluster")
struct RequestLanesTests {
    private static let (a, b) = (NodeAddress(host: "a", port: 1), NodeAddress(host: "b", port: 1))
    private static let order = RedisOrder(1)

    private static func time(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(0) + .milliseconds(milliseconds)
    }

    private static func entry(
        _ name: String,
        _ sequence: UInt64,
        asking: NodeAddress? = nil,
        readyAt: NIODeadline = time(0)
    ) -> RequestLanes<String>.Entry {
        .init(request: name, order: order, sequence: sequence, asking: asking, readyAt: readyAt)
    }

    private func text(_ steps: [RequestLanes<String>.Step]) -> [String] {
        steps.map { step in
            switch step {
            case .send(let entry, let node): "\(entry.request) to \(node.host)"
            case .overtaken(let entry): "\(entry.request) overtaken"
            case .wake(_, let time): "wake at \((time - Self.time(0)).nanoseconds / 1_000_000)"
            }
        }
    }

    @Test("without redirections all go at once, and nothing is kept of them")
    func plain() {
        let lanes = Lanes()
        for sequence in 1...3 { #expect(lanes.submit(Self.entry("x", UInt64(sequence)), to: Self.a)) }
        for sequence in 1...3 {
            let steps = lanes.answered(
                Self.order,
                sequence: UInt64(sequence),
                wasCarriedOut: true,
                owner: Self.a,
                now: Self.time(0)
            )
            #expect(steps.isEmpty)
        }
        #expect(lanes.count == 0)
    }

    @Test("what came back goes out again in its old place, one at a time until one is not redirected")
    func redirected() {
        let lanes = Lanes()
        #expect(lanes.submit(Self.entry("one", 1), to: Self.a))
        #expect(lanes.submit(Self.entry("two", 2), to: Self.a))
        #expect(lanes.submit(Self.entry("three", 3), to: Self.a))
        // The first is redirected. The table says b now, and two are still under way at a.
        #expect(text(lanes.sendBack(Self.entry("one", 1), owner: Self.b, now: Self.time(0))).isEmpty)
        #expect(!lanes.submit(Self.entry("four", 4), to: Self.b))
        #expect(text(lanes.sendBack(Self.entry("three", 3), owner: Self.b, now: Self.time(0))).isEmpty)
        let first = lanes.sendBack(Self.entry("two", 2), owner: Self.b, now: Self.time(0))
        #expect(text(first) == ["one to b"])
        // While it is being sent others wait.
        #expect(!lanes.submit(Self.entry("five", 5), to: Self.b))
        #expect(lanes.resume(Self.order, owner: Self.b, now: Self.time(0)).isEmpty)
        let rest = lanes.answered(Self.order, sequence: 1, wasCarriedOut: true, owner: Self.b, now: Self.time(0))
        #expect(text(rest) == ["two to b", "three to b", "four to b", "five to b"])
        #expect(lanes.resume(Self.order, owner: Self.b, now: Self.time(0)).isEmpty)
        #expect(lanes.submit(Self.entry("six", 6), to: Self.b))
    }

    @Test("a later request that was carried out all the same leaves an earlier one unsent")
    func overtaken() {
        let lanes = Lanes()
        #expect(lanes.submit(Self.entry("one", 1), to: Self.a))
        #expect(lanes.submit(Self.entry("two", 2), to: Self.a))
        #expect(lanes.sendBack(Self.entry("one", 1), owner: Self.a, now: Self.time(0)).isEmpty)
        let steps = lanes.answered(Self.order, sequence: 2, wasCarriedOut: true, owner: Self.a, now: Self.time(0))
        #expect(text(steps) == ["one overtaken"])
        #expect(lanes.count == 0)
    }

    @Test("a pause holds up those behind, and ASK is of one request only")
    func pause() {
        let lanes = Lanes()
        #expect(lanes.submit(Self.entry("one", 1), to: Self.a))
        #expect(lanes.submit(Self.entry("two", 2), to: Self.a))
        let asking = Self.entry("one", 1, asking: Self.b, readyAt: Self.time(10))
        #expect(lanes.sendBack(asking, owner: Self.a, now: Self.time(0)).isEmpty)
        let back = lanes.sendBack(Self.entry("two", 2), owner: Self.a, now: Self.time(0))
        #expect(text(back) == ["wake at 10"])
        #expect(text(lanes.woke(Self.order, owner: Self.a, now: Self.time(10))) == ["one to b"])
        #expect(lanes.resume(Self.order, owner: Self.a, now: Self.time(10)).isEmpty)
        let rest = lanes.answered(Self.order, sequence: 1, wasCarriedOut: true, owner: Self.a, now: Self.time(11))
        #expect(text(rest) == ["two to a"])
    }

    @Test("what waits for longer than it is worth is taken out")
    func deadline() {
        let lanes = Lanes()
        #expect(lanes.submit(Self.entry("one", 1), to: Self.a))
        #expect(!lanes.submit(Self.entry("two", 2), to: Self.b))
        #expect(lanes.takeWaiting(Self.order, sequence: 1) == nil)
        #expect(lanes.takeWaiting(Self.order, sequence: 2)?.request == "two")
        #expect(lanes.takeAllWaiting().isEmpty)
    }

    @Test("requests of different orders do not wait for one another")
    func otherOrders() {
        let lanes = Lanes()
        #expect(lanes.submit(Self.entry("one", 1), to: Self.a))
        #expect(
            lanes.sendBack(Self.entry("one", 1, readyAt: Self.time(50)), owner: Self.a, now: Self.time(0)).count == 1
        )
        var other = Self.entry("other", 2)
        other.order = RedisOrder(2)
        #expect(lanes.submit(other, to: Self.a))
    }
}
