import NIOCore

/// Keeps requests of one order in their sequence while some of them are redirected, as a value without I/O.
///
/// On one connection the order of sending is the order of execution. Where a slot moves, the one that is redirected
/// would fall behind those that were sent after it. So whatever is of the same order waits until those in flight at the
/// former node are answered; then what came back goes out again, in its old place, one request at a time until one is
/// not redirected any more. A request that comes too late all the same, since a later one was carried out before it, is
/// not sent: its sender would have to undo what the later one did.
struct RequestLanes<Request> {
    struct Entry {
        var request: Request
        var order: RedisOrder
        /// Which was submitted first.
        var sequence: UInt64
        /// The one node that this sending is for; `nil` for the slot's primary.
        var asking: NodeAddress?
        /// Not to be sent before.
        var readyAt = NIODeadline.uptimeNanoseconds(0)
    }

    enum Step {
        case send(Entry, to: NodeAddress)
        /// A later request was carried out before it.
        case overtaken(Entry)
        /// Look at the lane again at this time.
        case wake(RedisOrder, at: NIODeadline)
    }

    fileprivate struct Lane {
        /// Where those in flight were sent.
        var node: NodeAddress
        var inFlight = 0
        /// In their sequence.
        var waiting: [Entry] = []
        /// One request at a time.
        var isCareful = false
        /// Steps are being taken outside of the lock: whatever comes now goes behind them.
        var isBusy = false
        /// The last of those that were carried out, or may have been.
        var carriedOut: UInt64 = 0

        var isIdle: Bool { inFlight == 0 && waiting.isEmpty && !isBusy }
    }

    private var lanes: [RedisOrder: Lane] = [:]

    /// How many orders have requests that are not answered.
    var count: Int { lanes.count }

    /// Whether to send it now, to `node`; otherwise it is kept. O(1).
    mutating func submit(_ entry: Entry, to node: NodeAddress) -> Bool {
        guard var lane = lanes[entry.order] else {
            lanes[entry.order] = Lane(node: node, inFlight: 1)
            return true
        }
        let isFree =
            lane.waiting.isEmpty && !lane.isBusy && !(lane.isCareful && lane.inFlight > 0)
            && (lane.inFlight == 0 || lane.node == node)
        if isFree {
            lane.node = node
            lane.inFlight += 1
        } else {
            lane.insert(entry)
        }
        lanes[entry.order] = lane
        return isFree
    }

    /// A request in flight has its final answer; what to do now, with `owner` as the slot's primary.
    ///
    /// - Parameter wasCarriedOut: whether it may have been.
    mutating func answered(
        _ order: RedisOrder,
        sequence: UInt64,
        wasCarriedOut: Bool,
        owner: NodeAddress,
        now: NIODeadline
    ) -> [Step] {
        guard var lane = lanes[order] else { return [] }
        lane.inFlight -= 1
        if wasCarriedOut {
            lane.carriedOut = max(lane.carriedOut, sequence)
            lane.isCareful = false
        }
        lanes[order] = lane
        return pump(order, owner: owner, now: now)
    }

    /// A request in flight is to be sent again.
    mutating func sendBack(_ entry: Entry, owner: NodeAddress, now: NIODeadline) -> [Step] {
        guard var lane = lanes[entry.order] else { return [] }
        lane.inFlight -= 1
        lane.isCareful = true
        lane.insert(entry)
        lanes[entry.order] = lane
        return pump(entry.order, owner: owner, now: now)
    }

    /// The time that was waited for has come: what to do now.
    mutating func woke(_ order: RedisOrder, owner: NodeAddress, now: NIODeadline) -> [Step] {
        pump(order, owner: owner, now: now)
    }

    /// The steps of a call before were taken, and requests sent: what to do now. To be called until there is nothing.
    mutating func resume(_ order: RedisOrder, owner: NodeAddress, now: NIODeadline) -> [Step] {
        lanes[order]?.isBusy = false
        return pump(order, owner: owner, now: now)
    }

    /// Takes out what waits for longer than it is worth; `nil` if it does not wait.
    mutating func takeWaiting(_ order: RedisOrder, sequence: UInt64) -> Entry? {
        guard let index = lanes[order]?.waiting.firstIndex(where: { $0.sequence == sequence }) else { return nil }
        let entry = lanes[order]?.waiting.remove(at: index)
        if lanes[order]?.isIdle ?? false { lanes[order] = nil }
        return entry
    }

    /// Takes out all that waits.
    mutating func takeAllWaiting() -> [Entry] {
        var all: [Entry] = []
        for (order, lane) in lanes {
            all += lane.waiting
            lanes[order]?.waiting = []
            if lanes[order]?.isIdle ?? false { lanes[order] = nil }
        }
        return all.sorted { $0.sequence < $1.sequence }
    }

    private mutating func pump(_ order: RedisOrder, owner: NodeAddress, now: NIODeadline) -> [Step] {
        guard var lane = lanes[order], !lane.isBusy else { return [] }
        var steps: [Step] = []
        while let first = lane.waiting.first {
            if first.sequence < lane.carriedOut {
                lane.waiting.removeFirst()
                steps.append(.overtaken(first))
                continue
            }
            let node = first.asking ?? owner
            if lane.inFlight > 0, lane.isCareful || lane.node != node { break }
            guard first.readyAt <= now else {
                steps.append(.wake(order, at: first.readyAt))
                break
            }
            lane.waiting.removeFirst()
            lane.inFlight += 1
            lane.node = node
            steps.append(.send(first, to: node))
        }
        lane.isBusy = steps.contains { step in
            if case .send = step { true } else { false }
        }
        lanes[order] = lane.isIdle ? nil : lane
        return steps
    }
}

extension RequestLanes.Lane {
    fileprivate mutating func insert(_ entry: RequestLanes.Entry) {
        let index = waiting.lastIndex { $0.sequence < entry.sequence }.map { $0 + 1 } ?? 0
        waiting.insert(entry, at: index)
    }
}

extension RequestLanes: Sendable where Request: Sendable {}
extension RequestLanes.Entry: Sendable where Request: Sendable {}
extension RequestLanes.Lane: Sendable where Request: Sendable {}
extension RequestLanes.Step: Sendable where Request: Sendable {}
