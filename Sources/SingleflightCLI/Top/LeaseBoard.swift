import SingleflightRedis

/// What the live views show, as a value: news come in, lines go out.
struct LeaseBoard: Sendable {
    /// The pass over the leases that is under way, or the last one.
    private struct Tally {
        var leases: [LeaseSummary] = []
        var count = 0
        var expired = 0
        var waiters = 0
    }

    /// More leases than any screen has rows are counted but not kept.
    private static let capacity = 1_000

    let title: String
    private(set) var order: LeaseOrder
    /// nil for a view without events.
    private(set) var activity: FlightActivity?
    private var shown = Tally()
    private var coming = Tally()
    /// Whether a pass has ended; until then what the first has found so far is shown.
    private(set) var hasScanned = false
    private var failure: String?

    init(title: String, order: LeaseOrder, showsActivity: Bool) {
        self.title = title
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
        }
        if coming.leases.count > 2 * Self.capacity {
            coming.leases = Array(order.sorted(coming.leases).prefix(Self.capacity))
        }
    }

    mutating func endPass() {
        shown = coming
        shown.leases = order.sorted(shown.leases)
        coming = Tally()
        hasScanned = true
        failure = nil
    }

    mutating func fail(_ reason: String) {
        coming = Tally()
        failure = reason
    }

    mutating func record(_ change: LeaseEvent.Change, at now: Duration) {
        activity?.record(change, at: now)
    }

    mutating func measured(_ latency: Duration?) { activity?.measured(latency) }

    /// Acts on a key; whether to go on.
    mutating func press(_ key: Character) -> Bool {
        // Control-C arrives as a key here.
        if key == "q" || key == "Q" || key == "\u{3}" { return false }
        if let order = LeaseOrder.allCases.first(where: { $0.rawValue.first == key }) {
            self.order = order
            shown.leases = order.sorted(shown.leases)
        }
        return true
    }

    // MARK: - Lines

    /// A screenful: at most `size.rows` lines.
    func lines(_ size: TerminalScreen.Size, for terminal: Terminal, at now: Duration) -> [String] {
        var terminal = terminal
        terminal.width = size.columns
        func fitted(_ text: String, _ style: TextStyle? = nil) -> String {
            let text = SafeText.truncate(terminal.safe(text), to: size.columns, ascii: terminal.isASCII)
            return terminal.styled(text, style)
        }
        var lines = [fitted(title, .bold), fitted(summary)]
        if let activity { lines.append(fitted(Self.pace(activity, for: terminal, at: now))) }
        if let failure { lines.append(fitted(failure, .bad)) }
        let room = max(0, size.rows - lines.count - 3)
        let leases = hasScanned ? shown.leases : order.sorted(coming.leases)
        let table = LeaseRendering.table(leases.prefix(room), for: terminal)
        lines += table.render(for: terminal).split(separator: "\n").map(String.init)
        lines += Array(repeating: "", count: max(0, size.rows - lines.count - 1))
        let keys = LeaseOrder.allCases.map { $0 == order ? "[\($0.rawValue)]" : $0.rawValue }
        lines.append(fitted("q quit   sort by: " + keys.joined(separator: " "), .dim))
        return Array(lines.prefix(size.rows))
    }

    private var summary: String {
        guard hasScanned else {
            return failure != nil ? "" : coming.count == 0 ? "looking…" : "looking… \(coming.count) leases so far"
        }
        var parts = ["\(shown.count) \(shown.count == 1 ? "lease" : "leases")"]
        if shown.expired > 0 { parts.append("\(shown.expired) expired") }
        parts.append("\(shown.waiters) \(shown.waiters == 1 ? "waiter" : "waiters")")
        return parts.joined(separator: " · ")
    }

    private static func pace(_ activity: FlightActivity, for terminal: Terminal, at now: Duration) -> String {
        var parts: [String] = []
        if activity.isKnown { parts.append("\(tenths(activity.flightsPerSecond(at: now))) flights/s") }
        if let share = activity.coalescedShare {
            parts.append("\(Int((share * 100).rounded())) % coalesced")
        } else if !activity.isKnown {
            parts.append("no events")
        }
        if activity.isDeaf {
            parts.append("no wake-up")
        } else if let half = activity.wakeUp(percentile: 50), let most = activity.wakeUp(percentile: 99) {
            parts.append("wake-up \(terminal.duration(half)), p99 \(terminal.duration(most))")
        }
        return parts.joined(separator: " · ")
    }

    private static func tenths(_ number: Double) -> String {
        if number >= 99.95 { return "\(Int(number.rounded()))" }
        let tenths = Int((number * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
