import SingleflightLease

/// Looks for an order in which a store that keeps its promises could have answered the requests about one key as it
/// did.
///
/// A depth-first search over all orders that respect time: whoever was answered before another was sent comes first.
/// Source: Wing and Gong, "Testing and Verifying Concurrent Objects", 1993; positions that were tried are remembered,
/// after Lowe, "Testing for Linearizability", 2017. Requests without an answer stay open: they may come anywhere after
/// their sending, or nowhere.
struct HistoryCheck {
    private struct Position: Hashable {
        var placed: Set<Int>
        var state: HistoryState.Identity
    }

    private struct Search {
        var tried: Set<Position> = []
        var steps = 0
        /// The longest order found, for the message.
        var best: Set<Int> = []
    }

    /// Past this the search gives up, and says so. A flight has some ten requests, and hardly two at the same time.
    private static let maximumSteps = 200_000

    private let key: String
    /// Those with an answer in the order of the answers, then the open ones.
    private let operations: [HistoryOperation]
    private let answered: Int
    private let unreadable: HistoryRecord?
    /// When the store may have lost data.
    private let losses: [HistoryWindow]

    init(key: String, records: [HistoryRecord], losses: [HistoryWindow] = []) {
        self.key = key
        self.losses = losses
        let relevant = records.filter { !$0.isVoid }
        var inboxes = HistoryInboxes()
        let operations = relevant.compactMap { HistoryOperation($0, &inboxes) }
        self.unreadable = relevant.first { HistoryOperation($0, &inboxes) == nil }
        let answered = operations.filter { !$0.record.isOpen }.sorted { $0.latest < $1.latest }
        let open = operations.filter(\.record.isOpen).sorted { $0.earliest < $1.earliest }
        self.operations = answered + open
        self.answered = answered.count
    }

    func violation() -> String? {
        if let unreadable {
            return "\(self.key): \(unreadable.summary) cannot be read"
        }
        var search = Search()
        if self.place(in: HistoryState(), placed: [], &search) { return nil }
        let missing = self.operations[..<self.answered].indices.filter { !search.best.contains($0) }
        let next = missing.prefix(3).map { self.operations[$0].record.summary }.joined(separator: "; ")
        let verdict =
            search.steps > Self.maximumSteps
            ? "no order was found in \(Self.maximumSteps) steps" : "no order explains them"
        return "\(self.key): of \(self.answered) answers, \(missing.count) at the end: \(verdict); next are \(next)"
    }

    /// Places the remaining operations behind those that are placed; false if that cannot be done.
    private func place(in state: HistoryState, placed: Set<Int>, _ search: inout Search) -> Bool {
        guard let first = (0..<self.answered).first(where: { !placed.contains($0) }) else { return true }
        search.steps += 1
        guard search.steps <= Self.maximumSteps,
            search.tried.insert(Position(placed: placed, state: state.identity)).inserted
        else { return false }
        if placed.count > search.best.count {
            search.best = placed
        }
        // Whatever comes next comes before the first answer that is still to be explained.
        let bound = self.operations[first].latest
        for index in self.operations.indices where !placed.contains(index) {
            let operation = self.operations[index]
            let window = HistoryWindow(
                earliest: max(operation.earliest, state.clock),
                latest: min(operation.latest, bound)
            )
            guard window.earliest <= window.latest else { continue }
            for next in state.successors(of: operation, within: window) {
                if self.place(in: next, placed: placed.union([index]), &search) { return true }
            }
        }
        // Nothing explains it but what the store has lost, if that can be: one piece, and after that perhaps another.
        for loss in self.losses where loss.earliest <= bound && loss.latest >= state.clock {
            for next in state.losing(from: loss.earliest) {
                if self.place(in: next, placed: placed, &search) { return true }
            }
        }
        return false
    }
}

/// A span of time in which something happened, both ends included.
struct HistoryWindow: Hashable {
    var earliest: Int64
    var latest: Int64

    static func + (window: HistoryWindow, duration: Int64) -> HistoryWindow {
        HistoryWindow(
            earliest: window.earliest.clampedSum(duration),
            latest: window.latest.clampedSum(duration)
        )
    }

    /// What both have in common, if there is any.
    func intersection(_ other: HistoryWindow) -> HistoryWindow? {
        let common = HistoryWindow(
            earliest: max(self.earliest, other.earliest),
            latest: min(self.latest, other.latest)
        )
        return common.earliest <= common.latest ? common : nil
    }
}

extension Int64 {
    /// The end of time stays there.
    func clampedSum(_ other: Int64) -> Int64 {
        let (sum, overflows) = self.addingReportingOverflow(other)
        guard overflows else { return sum }
        return other > 0 ? .max : .min
    }
}

/// Gives each process of a history an inbox, as the model wants them.
struct HistoryInboxes {
    private var inboxes: [String: InboxID] = [:]
    private var generator = SystemRandomNumberGenerator()

    mutating func inbox(of process: String) -> InboxID {
        if let known = self.inboxes[process] { return known }
        let inbox = InboxID(process) ?? InboxID(using: &self.generator)
        self.inboxes[process] = inbox
        return inbox
    }
}

/// A record with its names read, and when it can have been carried out.
struct HistoryOperation {
    let record: HistoryRecord
    let inbox: InboxID
    /// The flight it is about; of a revocation of whichever runs, `nil`.
    let token: LeaseToken?
    let earliest: Int64
    let latest: Int64

    /// `nil` if a name in it is none.
    init?(_ record: HistoryRecord, _ inboxes: inout HistoryInboxes) {
        let token = record.request.token.flatMap { LeaseToken($0) }
        if token == nil, record.request.token != nil { return nil }
        if case .release(_, let mode) = record.request, ReleaseRequest.Mode(historyName: mode) == nil { return nil }
        self.record = record
        self.token = token
        self.inbox = inboxes.inbox(of: record.process)
        if case .heard = record.request {
            // It was decided at some time before it was heard.
            self.earliest = .min
        } else {
            self.earliest = record.invoked
        }
        self.latest = record.isOpen ? .max : record.returned ?? .max
    }
}

extension HistoryRecord {
    /// For messages.
    var summary: String {
        let end = self.returned.map { "+\(($0 - self.invoked) / 1_000_000) ms" } ?? "no end"
        let answer = self.reply.map { "\($0)" } ?? "no answer"
        return "\(self.process.prefix(6)) #\(self.sequence) \(self.request) → \(answer) (\(end))"
    }
}
