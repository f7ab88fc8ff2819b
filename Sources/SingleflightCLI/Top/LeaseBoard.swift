import Foundation
import SingleflightRedis

/// What the live views show, as a value: news and keys come in, lines and wishes come out.
struct LeaseBoard: Sendable {
    /// What is on the screen.
    enum Mode: Equatable, Sendable {
        /// Exits: filter at `/`, flight at Enter, question at `r`.
        case list
        /// What was typed so far. Exits: list, at Enter and Escape.
        case filter(String)
        /// One flight; nil until it was asked for. Exits: list at Escape, question at `r`.
        case flight(LeaseSummary, [FlightDetail]?)
        /// Whether to end this flight. Exits: list, at any key.
        case question(LeaseSummary)
    }

    /// What the view is to do after a key.
    enum Wish: Equatable, Sendable {
        case nothing, quit, suspend
        case open(LeaseSummary)
        case revoke(LeaseSummary)
    }

    /// The pass over the leases that is under way, or the last one.
    private struct Tally {
        var leases: [LeaseSummary] = []
        var count = 0
        var expired = 0
        var endangered = 0
        var waiters = 0
    }

    /// More leases than anybody scrolls through are counted but not kept.
    private static let capacity = 1_000

    /// What is shown: its name, then the parts of what was asked for.
    let title: [String]
    /// The server's URL, without a password.
    let server: String
    private(set) var order: LeaseOrder
    /// nil for a view without events.
    private(set) var activity: FlightActivity?
    private(set) var mode = Mode.list
    /// Only leases whose key, group or leader has this in it are shown.
    private(set) var filter = ""
    private var shown = Tally()
    private var coming = Tally()
    /// Whether a pass has ended; until then what the first has found so far is shown.
    private(set) var hasScanned = false
    /// The server's time at the end of the last pass, since 1970.
    private var serverTime: Duration?
    private var failure: String?
    /// What came of the last wish.
    private var notice: String?
    /// The flight that keys act on, once one was chosen; and where in the list it was seen last.
    private var chosen: (token: String, row: Int)?

    init(title: String..., server: String = "", order: LeaseOrder, showsActivity: Bool) {
        self.init(title: title, server: server, order: order, showsActivity: showsActivity)
    }

    init(title: [String], server: String, order: LeaseOrder, showsActivity: Bool) {
        self.title = title.isEmpty ? [""] : title
        self.server = server
        self.order = order
        activity = showsActivity ? FlightActivity() : nil
    }

    // MARK: - News

    mutating func add(_ leases: [LeaseSummary]) {
        for lease in leases {
            coming.leases.append(lease)
            coming.count += 1
            coming.waiters += lease.waiters
            if lease.isExpired { coming.expired += 1 }
            if lease.isEndangered { coming.endangered += 1 }
        }
        if coming.leases.count > 2 * Self.capacity {
            coming.leases = Array(order.sorted(coming.leases).prefix(Self.capacity))
        }
    }

    /// - Parameter serverTime: since 1970, if the server told.
    mutating func endPass(at serverTime: Duration? = nil) {
        shown = coming
        shown.leases = order.sorted(shown.leases)
        coming = Tally()
        hasScanned = true
        self.serverTime = serverTime
        failure = nil
        follow()
    }

    mutating func fail(_ reason: String) {
        coming = Tally()
        failure = reason
    }

    mutating func record(_ change: LeaseEvent.Change, at now: Duration) {
        activity?.record(change, at: now)
    }

    mutating func measured(_ latency: Duration?) { activity?.measured(latency) }

    /// What was asked for of a flight came.
    mutating func opened(_ lease: LeaseSummary, _ flights: [FlightDetail]) {
        guard case .flight(let open, _) = mode, open.token == lease.token else { return }
        mode = .flight(open, flights)
    }

    mutating func tell(_ notice: String) { self.notice = notice }

    /// The chosen flight may have another place now; where it is gone, what has its place is chosen.
    private mutating func follow() {
        guard let (token, row) = chosen else { return }
        let leases = matching
        chosen = leases.firstIndex { $0.token == token }.map { (token, $0) }
        if chosen == nil { choose(row, of: leases) }
    }

    private mutating func choose(_ row: Int, of leases: [LeaseSummary]) {
        let row = min(max(row, 0), leases.count - 1)
        chosen = leases.isEmpty ? nil : (leases[row].token, row)
    }

    // MARK: - Keys

    /// Acts on a key; what is to be done now.
    ///
    /// - Parameter page: how many rows a page has.
    mutating func press(_ key: TerminalKey, page: Int = 10) -> Wish {
        notice = nil
        // Control-C and Control-Z arrive as keys here.
        if key == .character("\u{3}") { return .quit }
        if key == .character("\u{1A}") { return .suspend }
        switch mode {
        case .list: return pressInList(key, page)
        case .filter(let typed):
            pressInFilter(key, typed)
        case .flight(let lease, _):
            switch key {
            case .escape, .enter, .backspace, .character("q"): mode = .list
            case .character("r"): mode = .question(lease)
            default: break
            }
        case .question(let lease):
            mode = .list
            if key == .character("y") || key == .character("Y") { return .revoke(lease) }
            notice = "nothing was ended"
        }
        return .nothing
    }

    private mutating func pressInList(_ key: TerminalKey, _ page: Int) -> Wish {
        let row = chosen?.row
        switch key {
        case .character("q"), .character("Q"): return .quit
        case .character("/"): mode = .filter(filter)
        case .escape: filter(by: "")
        case .up: choose((row ?? 1) - 1, of: matching)
        case .down: choose((row ?? -1) + 1, of: matching)
        case .pageUp: choose((row ?? 0) - page, of: matching)
        case .pageDown: choose((row ?? 0) + page, of: matching)
        case .home: choose(0, of: matching)
        case .end: choose(matching.count - 1, of: matching)
        case .enter:
            guard let lease = current else { break }
            mode = .flight(lease, nil)
            return .open(lease)
        case .character("r"):
            // A flight that nobody has chosen is not ended by one key and another.
            guard chosen != nil, let lease = current else {
                notice = "choose a flight first, with the arrows"
                break
            }
            mode = .question(lease)
        case .character(let letter):
            guard let order = LeaseOrder.allCases.first(where: { $0.rawValue.first == letter }) else { break }
            self.order = order
            shown.leases = order.sorted(shown.leases)
            follow()
        case .backspace: break
        }
        return .nothing
    }

    private mutating func pressInFilter(_ key: TerminalKey, _ typed: String) {
        switch key {
        case .enter: mode = .list
        case .escape:
            mode = .list
            filter(by: "")
        case .backspace:
            mode = .filter(String(typed.dropLast()))
            filter(by: String(typed.dropLast()))
        case .character(let character) where character >= " ":
            mode = .filter(typed + String(character))
            filter(by: typed + String(character))
        default: break
        }
    }

    private mutating func filter(by text: String) {
        filter = text
        follow()
    }

    private var current: LeaseSummary? {
        let leases = matching
        guard let row = chosen?.row else { return leases.first }
        return leases.indices.contains(row) ? leases[row] : nil
    }

    /// The leases that the filter lets through, in their order.
    var matching: [LeaseSummary] {
        let leases = hasScanned ? shown.leases : order.sorted(coming.leases)
        guard !filter.isEmpty else { return leases }
        return leases.filter { lease in
            [lease.key, lease.group, lease.leader].contains { $0.localizedCaseInsensitiveContains(filter) }
        }
    }

    /// How many leases there are to be seen; more than ``matching`` has, where not all of them are kept.
    var total: Int { filter.isEmpty && hasScanned ? shown.count : matching.count }

    // MARK: - What lines are made of

    var chosenRow: Int? { chosen?.row }

    /// The heading's parts, in order; in brief without the server, which the person that started this knows.
    func heading(isBrief: Bool) -> [String] {
        let time = serverTime.map { [(isBrief ? "" : "server time ") + ClockText.time($0)] } ?? []
        return (isBrief || server.isEmpty ? [title[0]] : [title[0], server]) + title.dropFirst() + time
    }

    var message: (text: String, style: TextStyle)? {
        if let notice { return (notice, .warning) }
        return failure.map { ($0, .bad) }
    }

    var summary: [(text: String, style: TextStyle?)] {
        guard hasScanned else {
            let found = coming.count == 0 ? "looking…" : "looking… \(coming.count) leases so far"
            return failure == nil ? [(found, nil)] : []
        }
        var parts: [(String, TextStyle?)] = [("\(shown.count) \(shown.count == 1 ? "lease" : "leases")", nil)]
        if shown.expired > 0 { parts.append(("\(shown.expired) expired", .bad)) }
        if shown.endangered > 0 { parts.append(("\(shown.endangered) about to run out", .warning)) }
        parts.append(("\(shown.waiters) \(shown.waiters == 1 ? "waiter" : "waiters")", nil))
        return parts
    }
}
