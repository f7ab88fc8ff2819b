import NIOCore

/// Keeps shard channels subscribed, each at the primary of its slot, as a value without I/O.
///
/// A channel is wanted for good. It is subscribed to by a command of its own, since channels of two slots in one
/// command are refused; each acknowledgement is waited for, until a deadline that the sender sees to. What is lost (a
/// slot that leaves, a node that is gone, a server that forgot) is subscribed to anew; each loss and each
/// acknowledgement is told, because messages in between are missed.
struct ShardMachine {
    /// What became of a SSUBSCRIBE.
    enum Answer: Hashable {
        case acknowledged
        /// Another node serves the slot, which the topology knows by now.
        case moved
        /// Not now: the cluster is down, there is no connection, no answer came.
        case failed
        /// Not ever, as far as that can be seen: the right is missing.
        case refused
    }

    enum Step: Hashable {
        case subscribe(channel: String, at: NodeAddress, attempt: UInt64)
        /// Nothing is heard on the channel of this tag.
        case lost(tag: UInt16)
        /// From here on it is heard again, or for the first time.
        case resumed(tag: UInt16)
        case refreshTopology
        /// Call ``woke(now:owner:)`` then.
        case wake(at: NIODeadline)
    }

    private enum State {
        /// To be subscribed to, not before this time. Exits: asking.
        case wanted(readyAt: NIODeadline)
        /// Exits: wanted, subscribed.
        case asking(NodeAddress)
        /// Exits: wanted.
        case subscribed(NodeAddress)
    }

    private struct Channel {
        let slot: HashSlot
        let tag: UInt16
        var state = State.wanted(readyAt: .uptimeNanoseconds(0))
        /// Which subscription is meant, so that what is heard of an earlier one can be told apart.
        var attempt: UInt64 = 0
        var failures = 0
    }

    private static let firstPause = TimeAmount.milliseconds(10)
    private static let longestPause = TimeAmount.seconds(1)
    /// A right that is missing comes back when somebody gives it.
    private static let pauseAfterRefusal = TimeAmount.seconds(10)

    private var channels: [String: Channel] = [:]

    /// How many channels are wanted.
    var count: Int { channels.count }

    /// The channels that were acknowledged, by their node.
    var subscribed: [NodeAddress: [String]] {
        var found: [NodeAddress: [String]] = [:]
        for (name, channel) in channels {
            if case .subscribed(let node) = channel.state { found[node, default: []].append(name) }
        }
        return found
    }

    /// The nodes that a channel is, or is to be, subscribed to at.
    var nodes: Set<NodeAddress> {
        var found: Set<NodeAddress> = []
        for channel in channels.values {
            switch channel.state {
            case .asking(let node), .subscribed(let node): found.insert(node)
            case .wanted: break
            }
        }
        return found
    }

    /// Wants a channel, from now on. Idempotent.
    ///
    /// - Parameters:
    ///   - tag: by which losses and acknowledgements are told.
    ///   - owner: the slot's primary; `nil` as long as the topology is not known.
    mutating func want(
        _ name: String,
        slot: HashSlot,
        tag: UInt16,
        owner: (HashSlot) -> NodeAddress?,
        now: NIODeadline
    ) -> [Step] {
        guard channels[name] == nil else { return [] }
        channels[name] = Channel(slot: slot, tag: tag)
        return ask(name, owner: owner, now: now).map { [$0] } ?? []
    }

    /// A SSUBSCRIBE was answered, or failed.
    ///
    /// - Parameter random: a number in `0..<1`.
    mutating func answered(
        _ name: String,
        attempt: UInt64,
        _ answer: Answer,
        owner: (HashSlot) -> NodeAddress?,
        now: NIODeadline,
        random: Double
    ) -> [Step] {
        guard var channel = channels[name], channel.attempt == attempt, case .asking(let node) = channel.state else {
            return []
        }
        var steps: [Step] = []
        switch answer {
        case .acknowledged:
            channel.state = .subscribed(node)
            channel.failures = 0
            steps.append(.resumed(tag: channel.tag))
        case .moved, .failed:
            // The first redirection is followed at once.
            let pause = answer == .moved && channel.failures == 0 ? .zero : Self.pause(channel.failures, random)
            channel.failures += 1
            channel.state = .wanted(readyAt: now + pause)
            steps.append(.refreshTopology)
        case .refused:
            channel.failures += 1
            channel.state = .wanted(readyAt: now + Self.pauseAfterRefusal)
        }
        channels[name] = channel
        if case .wanted = channel.state, let step = ask(name, owner: owner, now: now) { steps.append(step) }
        return steps
    }

    /// A node pushed that a channel is not subscribed to there any more: its slot has moved, or the node is no primary.
    mutating func unsubscribed(
        _ name: String,
        by node: NodeAddress,
        owner: (HashSlot) -> NodeAddress?,
        now: NIODeadline
    ) -> [Step] {
        guard case .subscribed(node) = channels[name]?.state else { return [] }
        return lose(name, owner: owner, now: now) + [.refreshTopology]
    }

    /// The connection to a node was lost, and all its subscriptions with it.
    mutating func nodeLost(_ node: NodeAddress, owner: (HashSlot) -> NodeAddress?, now: NIODeadline) -> [Step] {
        var steps: [Step] = []
        for (name, channel) in channels {
            if case .subscribed(node) = channel.state { steps += lose(name, owner: owner, now: now) }
        }
        return steps.isEmpty ? [] : steps + [.refreshTopology]
    }

    /// A node was asked who listens, and nobody does to this channel: it forgot the subscription without a word.
    mutating func missing(
        _ name: String,
        at node: NodeAddress,
        owner: (HashSlot) -> NodeAddress?,
        now: NIODeadline
    ) -> [Step] {
        guard case .subscribed(node) = channels[name]?.state else { return [] }
        return lose(name, owner: owner, now: now)
    }

    /// The topology is known, or another one.
    mutating func topologyChanged(owner: (HashSlot) -> NodeAddress?, now: NIODeadline) -> [Step] {
        var steps: [Step] = []
        for (name, channel) in channels {
            switch channel.state {
            case .subscribed(let node):
                guard let owner = owner(channel.slot), owner != node else { continue }
                steps += lose(name, owner: { _ in owner }, now: now)
            case .wanted:
                if let step = ask(name, owner: owner, now: now) { steps.append(step) }
            case .asking:
                // Its answer says where it belongs, or does not come.
                break
            }
        }
        return steps
    }

    /// A pause is over.
    mutating func woke(owner: (HashSlot) -> NodeAddress?, now: NIODeadline) -> [Step] {
        channels.keys.compactMap { ask($0, owner: owner, now: now) }
    }

    private mutating func lose(_ name: String, owner: (HashSlot) -> NodeAddress?, now: NIODeadline) -> [Step] {
        guard let tag = channels[name]?.tag else { return [] }
        channels[name]?.state = .wanted(readyAt: now)
        return [.lost(tag: tag)] + (ask(name, owner: owner, now: now).map { [$0] } ?? [])
    }

    /// Subscribes, if that is wanted, it is time, and there is a node to do it at.
    private mutating func ask(_ name: String, owner: (HashSlot) -> NodeAddress?, now: NIODeadline) -> Step? {
        guard var channel = channels[name], case .wanted(let readyAt) = channel.state else { return nil }
        guard readyAt <= now else { return .wake(at: readyAt) }
        guard let node = owner(channel.slot) else { return nil }
        channel.attempt += 1
        channel.state = .asking(node)
        channels[name] = channel
        return .subscribe(channel: name, at: node, attempt: channel.attempt)
    }

    /// The upper half of a limit that doubles each time.
    private static func pause(_ failures: Int, _ random: Double) -> TimeAmount {
        let limit = min(firstPause.nanoseconds << Int64(min(failures, 20)), longestPause.nanoseconds)
        return .nanoseconds(limit / 2 + Int64(Double(limit / 2) * random))
    }
}
