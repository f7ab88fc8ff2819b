import NIOCore

/// What a node of a cluster answers where the request is wrong there, or just now. In all cases it was not carried out.
enum Redirection: Hashable {
    /// Another node serves the slot, from now on.
    case moved(HashSlot, NodeAddress)
    /// The slot is on its way to another node, which has this key already, if it exists: ask that one this time.
    case ask(NodeAddress)
    /// The slot is on its way, and some of the keys are here, some there.
    case tryAgain
    /// The cluster, or this node of it, serves nothing just now.
    case unready

    /// `nil` for every other error.
    init?(_ error: RedisServerError, from node: NodeAddress) {
        let words = error.message.split(separator: " ")
        switch error.code {
        case "MOVED" where words.count >= 3:
            guard let slot = Int(words[1]).flatMap(HashSlot.init),
                let address = NodeAddress(words[2], askedAt: node.host)
            else { return nil }
            self = .moved(slot, address)
        case "ASK" where words.count >= 3:
            guard let address = NodeAddress(words[2], askedAt: node.host) else { return nil }
            self = .ask(address)
        case "TRYAGAIN":
            self = .tryAgain
        case "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY":
            self = .unready
        default:
            return nil
        }
    }
}

/// How one request is sent again after what a node answered, as a value without I/O.
///
/// It is redirected five times at most, which two nodes that point to one another would go on with for ever, and waits
/// longer each time: nodes that disagree need a moment to agree. It ends at its deadline.
struct RedirectMachine: Sendable, Hashable {
    enum Verdict: Hashable {
        /// Send it once more after this time: to `node`, behind ASKING, or else to the slot's primary.
        case again(after: TimeAmount, asking: NodeAddress?)
        /// The error is the request's answer.
        case giveUp
    }

    static let mostRedirects = 5
    /// The first redirection is what a slot that has moved comes to; it is followed at once.
    private static let firstPause = TimeAmount.milliseconds(10)
    private static let longestPause = TimeAmount.milliseconds(200)

    private(set) var redirects = 0
    private var pauses = 0
    /// The node that the last sending asked, behind ASKING.
    private var asked: NodeAddress?

    /// - Parameter random: a number in `0..<1`.
    mutating func handle(
        _ redirection: Redirection,
        now: NIODeadline,
        deadline: NIODeadline,
        random: Double
    ) -> Verdict {
        switch redirection {
        case .moved:
            asked = nil
            redirects += 1
        case .ask(let node):
            asked = node
            redirects += 1
        case .tryAgain:
            // At the same node: if the move is over meanwhile, that one serves the slot, or says who does.
            pauses += 1
        case .unready:
            asked = nil
            pauses += 1
        }
        guard redirects <= Self.mostRedirects else { return .giveUp }
        // The first redirection alone is followed without one.
        let pause = pause(after: max(redirects - 1, 0) + pauses, random: random)
        guard now + pause < deadline else { return .giveUp }
        return .again(after: pause, asking: asked)
    }

    /// The request was never sent, and its slot is served by another node meanwhile.
    mutating func rerouted(now: NIODeadline, deadline: NIODeadline) -> Verdict {
        asked = nil
        redirects += 1
        guard redirects <= Self.mostRedirects, now < deadline else { return .giveUp }
        return .again(after: .zero, asking: nil)
    }

    /// The upper half of a limit that doubles each time.
    private func pause(after count: Int, random: Double) -> TimeAmount {
        guard count > 0 else { return .zero }
        let limit = min(Self.firstPause.nanoseconds << Int64(min(count - 1, 20)), Self.longestPause.nanoseconds)
        return .nanoseconds(limit / 2 + Int64(Double(limit / 2) * random))
    }
}
