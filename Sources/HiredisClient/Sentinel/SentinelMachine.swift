/// Where the primary is, as sentinels tell it, as a value without I/O: whom to ask, whom to believe, and when it moved.
///
/// The sentinels are asked in turn, one after the other, in rounds. The first one that knows the primary answers
/// those who wait; it is asked first in the next round. The others are asked all the same: one that was cut off tells
/// an old primary until somebody contradicts it, and of those that disagree the one with the highest epoch is right.
struct SentinelMachine {
    /// Names one round, so that an answer that comes after its end can be told apart.
    typealias Round = UInt64

    /// What one sentinel answered.
    enum Reply {
        case primary(RedisAddress, epoch: Int64)
        /// It watches no primary of that name.
        case unknownName
        case failed(RedisClientError)
    }

    enum Action {
        /// Ask the sentinel of this index.
        case ask(Int, Round)
        /// Tell everybody who waits.
        case answer(Result<RedisAddress, RedisClientError>)
        /// Every connection that leads elsewhere is of no use any more.
        case move(to: RedisAddress)
        /// The round is over: begin the next one after a while, unless somebody wants to know before.
        case rest
    }

    private enum State {
        /// Exits: asking.
        case resting
        /// Exits: resting, asking.
        case asking(Asking)
    }

    private struct Asking {
        var round: Round
        /// Those that are asked after the one that is being asked.
        var rest: ArraySlice<Int>
        var answers: [(index: Int, address: RedisAddress, epoch: Int64)] = []
        var failures: [(index: Int, reply: Reply)] = []
    }

    private let sentinels: [RedisAddress]
    /// The name under which the sentinels know the primary.
    let primary: String
    private var state = State.resting
    private var rounds: Round = 0
    /// In the order in which they are asked.
    private(set) var order: [Int]
    /// Where connections lead, or are to lead.
    private(set) var current: RedisAddress?
    /// The sentinel that told it last.
    private var teller: Int?

    init(sentinels: [RedisAddress], primary: String) {
        self.sentinels = sentinels
        self.primary = primary
        order = Array(sentinels.indices)
    }

    // MARK: Rounds

    /// Somebody wants to know where the primary is. A round that waits for its first answer serves him as well; one
    /// that has had it is old news by now.
    mutating func wanted() -> [Action] {
        if case .asking(let asking) = state, asking.answers.isEmpty { return [] }
        return begin()
    }

    /// It is time to look whether the primary is still where it was.
    mutating func tick() -> [Action] {
        guard case .resting = state else { return [] }
        return begin()
    }

    private mutating func begin() -> [Action] {
        guard let first = order.first else { return [] }
        rounds += 1
        state = .asking(Asking(round: rounds, rest: order.dropFirst()))
        return [.ask(first, rounds)]
    }

    mutating func replied(_ index: Int, in round: Round, _ reply: Reply) -> [Action] {
        guard case .asking(var asking) = state, asking.round == round else { return [] }
        var actions: [Action] = []
        if case .primary(let address, let epoch) = reply {
            asking.answers.append((index, address, epoch))
            if asking.answers.count == 1 {
                prefer(index)
                actions += believe(address, by: index)
                actions.append(.answer(.success(address)))
            }
        } else {
            asking.failures.append((index, reply))
        }
        if let next = asking.rest.popFirst() {
            state = .asking(asking)
            return actions + [.ask(next, round)]
        }
        state = .resting
        return actions + end(of: asking) + [.rest]
    }

    private mutating func end(of asking: Asking) -> [Action] {
        guard let first = asking.answers.first else { return [.answer(.failure(failure(of: asking)))] }
        // The first one of the highest epoch. One that does not tell its epoch contradicts nobody.
        let best = asking.answers.dropFirst().reduce(first) { $1.epoch > $0.epoch ? $1 : $0 }
        guard best.address != first.address else { return [] }
        prefer(best.index)
        return believe(best.address, by: best.index)
    }

    private mutating func believe(_ address: RedisAddress, by index: Int) -> [Action] {
        defer { (current, teller) = (address, index) }
        guard let current, current != address else { return [] }
        return [.move(to: address)]
    }

    private mutating func prefer(_ index: Int) {
        order.removeAll { $0 == index }
        order.insert(index, at: 0)
    }

    // MARK: What is learned elsewhere

    /// A connection to `address` came to nothing, or led to what is no primary: who told it is asked last next time.
    mutating func refuted(_ address: RedisAddress) {
        guard address == current, let teller = teller.take(), order.first == teller else { return }
        order.removeFirst()
        order.append(teller)
    }

    /// A sentinel announced a new primary: `name old-host old-port new-host new-port`. It may be that of others.
    mutating func announced(_ message: String, by index: Int) -> [Action] {
        let words = message.split(separator: " ")
        guard words.count == 5, words[0] == primary, let address = Self.address(host: words[3], port: words[4])
        else { return [] }
        prefer(index)
        // An answer that is under way is older.
        if case .asking(let asking) = state, asking.answers.isEmpty {
            return believe(address, by: index) + begin()
        }
        state = .resting
        return believe(address, by: index) + [.rest]
    }

    static func address(host: some StringProtocol, port: some StringProtocol) -> RedisAddress? {
        guard !host.isEmpty, let port = Int(port), (1...65_535).contains(port) else { return nil }
        return .tcp(host: String(host), port: port)
    }

    // MARK: Why nobody knows

    private func failure(of asking: Asking) -> RedisClientError {
        var errors: [RedisClientError] = []
        var told: [String] = []
        var unknown = 0
        for (index, reply) in asking.failures {
            switch reply {
            case .failed(let error):
                errors.append(error)
                told.append(error.message)
            case .unknownName:
                unknown += 1
                told.append("\(sentinels[index]) knows no primary of that name")
            case .primary:
                break
            }
        }
        let details = told.joined(separator: "; ")
        if unknown * 2 > sentinels.count {
            let message = "the sentinels know no primary named '\(primary)': check the name in the URL (\(details))"
            return RedisClientError(.misconfigured, message)
        }
        let lasting = errors.first { $0.isLasting }
        let code = errors.count == sentinels.count && errors.allSatisfy(\.isLasting) ? lasting?.code : nil
        return RedisClientError(
            code ?? .connectionFailed,
            "no sentinel tells where the primary '\(primary)' is: \(details)",
            underlying: nil
        )
    }
}
