import NIOCore

/// When a cluster is asked for its topology, and whom of it, as a value without I/O.
///
/// One refresh is under way at a time, with a floor between two of them that grows as long as they bring no news, and
/// some jitter: many processes see the same node fail. A refresh asks one node after the other until one tells what is
/// not behind what is known: the nodes that are connected first, in random order, then the addresses that the program
/// started with, then the others.
struct TopologyMachine {
    struct Times: Hashable {
        var floor = TimeAmount.milliseconds(100)
        var longestFloor = TimeAmount.milliseconds(800)
        /// Between two refreshes that nobody asked for.
        var period = TimeAmount.seconds(10)
    }

    /// What is known of one node when a refresh begins.
    struct Candidates: Hashable {
        var connected: [NodeAddress] = []
        var seeds: [NodeAddress] = []
        var others: [NodeAddress] = []
    }

    enum Step: Hashable {
        case ask(NodeAddress)
        /// The refresh is over: this is the topology now, the next refresh begins then.
        case adopt(ClusterTopology, next: NIODeadline)
        /// Nobody told anything that can be believed.
        case failed(next: NIODeadline)
    }

    private enum State {
        /// Exits: asking, shutDown.
        case idle
        /// Exits: idle, shutDown.
        case asking(rest: [NodeAddress], best: ClusterTopology?)
        case shutDown
    }

    private let times: Times
    private var state = State.idle
    /// The floor in force, between the last refresh's beginning and the next one's.
    private var floor: TimeAmount
    private var lastBegan: NIODeadline?
    /// Somebody asked for a refresh while one was under way, which may have been too early for what that one saw.
    private var isWantedAgain = false
    private(set) var known: ClusterTopology?
    /// What redirections told since.
    private var moves: [HashSlot: NodeAddress] = [:]

    init(times: Times = Times()) {
        self.times = times
        floor = times.floor
    }

    var isAsking: Bool {
        if case .asking = state { true } else { false }
    }

    /// Somebody saw that the topology may have changed: when to begin a refresh, or `nil` if one is under way.
    ///
    /// - Parameter random: a number in `0..<1`.
    mutating func want(now: NIODeadline, random: Double) -> NIODeadline? {
        switch state {
        case .idle:
            guard let lastBegan else { return now }
            return max(now, lastBegan + jittered(floor, random))
        case .asking:
            isWantedAgain = true
            return nil
        case .shutDown:
            return nil
        }
    }

    /// A refresh is due: whom to ask first; `nil` if one is under way, or there is nobody to ask.
    mutating func begin(
        _ candidates: Candidates,
        now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) -> NodeAddress? {
        guard case .idle = state else { return nil }
        var order: [NodeAddress] = []
        for group in [candidates.connected, candidates.seeds, candidates.others] {
            for node in group.shuffled(using: &generator) where !order.contains(node) { order.append(node) }
        }
        guard !order.isEmpty else { return nil }
        lastBegan = now
        isWantedAgain = false
        let first = order.removeFirst()
        state = .asking(rest: order, best: nil)
        return first
    }

    /// The node that was asked told this, or nothing.
    mutating func answered(_ topology: ClusterTopology?, now: NIODeadline, random: Double) -> Step? {
        guard case .asking(var rest, var best) = state else { return nil }
        if let topology {
            if !isBehind(topology) { return adopt(topology, now: now, random: random) }
            if best.map({ Self.isBehind($0, topology) }) ?? true { best = topology }
        }
        if !rest.isEmpty {
            let next = rest.removeFirst()
            state = .asking(rest: rest, best: best)
            return .ask(next)
        }
        // All of them are behind: then the cluster is another one than it was.
        if let best { return adopt(best, now: now, random: random) }
        state = .idle
        grow()
        return .failed(next: now + jittered(floor, random))
    }

    /// A redirection told of one slot. It stands until a refresh tells of a later epoch; `false` if it was known.
    mutating func moved(_ slot: HashSlot, to node: NodeAddress) -> Bool {
        guard known?.move(slot, to: node) ?? false else { return false }
        moves[slot] = node
        return true
    }

    mutating func shutDown() {
        state = .shutDown
    }

    private mutating func adopt(_ topology: ClusterTopology, now: NIODeadline, random: Double) -> Step {
        var topology = topology
        if let epoch = topology.epoch, epoch == known?.epoch {
            // The node that told it may not have heard of these yet.
            for (slot, node) in moves { _ = topology.move(slot, to: node) }
        } else {
            moves = [:]
        }
        let isNews = known.map { !$0.agrees(with: topology) } ?? true
        known = topology
        state = .idle
        if isNews { floor = times.floor } else { grow() }
        let next = isWantedAgain ? now + jittered(floor, random) : now + jittered(times.period, random)
        return .adopt(topology, next: next)
    }

    private mutating func grow() {
        floor = min(floor * 2, times.longestFloor)
    }

    private func isBehind(_ topology: ClusterTopology) -> Bool {
        known.map { Self.isBehind(topology, $0) } ?? topology.isEmpty
    }

    /// Whether the first is older than the second, or tells nothing where the second does.
    private static func isBehind(_ first: ClusterTopology, _ second: ClusterTopology) -> Bool {
        if let early = first.epoch, let late = second.epoch, early != late { return early < late }
        return first.isEmpty && !second.isEmpty
    }

    /// From four fifths to six fifths of it.
    private func jittered(_ amount: TimeAmount, _ random: Double) -> TimeAmount {
        .nanoseconds(Int64(Double(amount.nanoseconds) * (0.8 + 0.4 * random)))
    }
}

extension ClusterTopology {
    /// Whether both say the same of every slot.
    fileprivate func agrees(with other: ClusterTopology) -> Bool {
        (0..<HashSlot.count).allSatisfy { number in
            guard let slot = HashSlot(number) else { return true }
            return owner(of: slot) == other.owner(of: slot)
        }
    }
}
