import SingleflightRedis

/// What the live views show, as a value: news come in, lines go out.
struct LeaseBoard: Sendable {
    /// The pass over the leases that is under way, or the last one.
    private struct Tally {
        var leases: [LeaseSummary] = []
        var tokens: Set<String> = []
        var count: Int { tokens.count }
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
    private var hasScanned = false
    private var failure: String?

    init(title: String, order: LeaseOrder, showsActivity: Bool) {
        self.title = title
        self.order = order
        activity = showsActivity ? FlightActivity() : nil
    }

    // MARK: - News

    mutating func add(_ leases: [LeaseSummary]) {
        for lease in leases where coming.tokens.insert(lease.token).inserted {
            coming.leases.append(lease)
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
        var lines = [fitted(title, .bold), fitted(summary(at: now))]
        if let failure { lines.append(fitted(failure, .bad)) }
        let room = max(0, size.rows - lines.count - 3)
        let table = table(shown.leases.prefix(room), columns: size.columns, for: terminal)
        lines += table.split(separator: "\n").map(String.init)
        lines += Array(repeating: "", count: max(0, size.rows - lines.count - 1))
        let keys = LeaseOrder.allCases.map { $0 == order ? "[\($0.rawValue)]" : $0.rawValue }
        lines.append(fitted("q quit   sort by: " + keys.joined(separator: " "), .dim))
        return Array(lines.prefix(size.rows))
    }

    private func summary(at now: Duration) -> String {
        guard hasScanned else { return failure == nil ? "looking…" : "" }
        var parts = ["\(shown.count) \(shown.count == 1 ? "lease" : "leases")"]
        if shown.expired > 0 { parts.append("\(shown.expired) expired") }
        parts.append("\(shown.waiters) \(shown.waiters == 1 ? "waiter" : "waiters")")
        if let activity {
            parts.append("\(Self.tenths(activity.flightsPerSecond(at: now))) flights/s")
            if let share = activity.coalescedShare {
                parts.append("\(Int((share * 100).rounded())) % coalesced")
            } else if !activity.isKnown {
                parts.append("no events")
            }
        }
        return parts.joined(separator: " · ")
    }

    private static func tenths(_ number: Double) -> String {
        let tenths = Int((number * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// As many columns as there is room for.
    private func table(_ leases: ArraySlice<LeaseSummary>, columns: Int, for terminal: Terminal) -> String {
        let isWide = columns >= 100
        var titles: [Table.Column] = [
            .init("KEY", isFlexible: true), .init("LEADER", isFlexible: true), .init("AGE", .right),
            .init("LEFT", .right), .init("WAITERS", .right), .init("PROGRESS", isFlexible: true),
        ]
        if isWide { titles.insert(contentsOf: [.init("GROUP", isFlexible: true), .init("TOKEN")], at: 1) }
        var table = Table(titles)
        for lease in leases {
            var cells: [Table.Cell] = [
                .init(lease.key, .bold), .init(lease.leader), .init(terminal.duration(lease.age)),
                LeaseRendering.left(lease, terminal), .init("\(lease.waiters)"),
                .init(ProgressBar.text(lease, ascii: terminal.isASCII)),
            ]
            if isWide {
                cells.insert(contentsOf: [.init(lease.group), .init(String(lease.token.prefix(8)), .dim)], at: 1)
            }
            table.append(cells)
        }
        return table.render(for: terminal)
    }
}

/// A share of the work as a bar.
enum ProgressBar {
    /// `█████░░░ 62 % reading`, as far as it is known.
    static func text(_ lease: LeaseSummary, ascii: Bool) -> String {
        guard let fraction = lease.fraction else { return lease.progress ?? "" }
        let done = Int((fraction * Double(width)).rounded())
        let bar = String(repeating: ascii ? "#" : "█", count: done)
        return bar + String(repeating: ascii ? "-" : "░", count: width - done) + " " + (lease.progress ?? "")
    }

    private static let width = 8
}
