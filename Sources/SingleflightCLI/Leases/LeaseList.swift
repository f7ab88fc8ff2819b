/// Prints leases as they are found, or all at the end: as value, rows come in and text goes out.
struct LeaseList {
    /// A short list is sorted by key although nobody asked; a longer one is not waited for.
    private static let patience = Duration.milliseconds(250)
    private static let patienceRows = 200

    private enum State {
        /// Everything is kept until the end, because it is to be sorted.
        case collecting
        /// Kept for a moment. Exits: streaming, when it gets long.
        case hesitating
        /// Every row is printed when it is found. The widths of a table are those of the first rows.
        case streaming(Table?)
    }

    let format: OutputFormat
    let terminal: Terminal
    let order: LeaseOrder?
    private var state: State
    private var kept: [LeaseSummary] = []

    /// How many leases were found.
    private(set) var count = 0
    /// Whether nothing is printed before everything was found.
    var waitsForAll: Bool { order != nil }

    init(format: OutputFormat, terminal: Terminal, order: LeaseOrder?) {
        self.format = format
        self.terminal = terminal
        self.order = order
        state = order == nil ? .hesitating : .collecting
    }

    /// What to print now; empty if nothing.
    mutating func add(_ leases: [LeaseSummary], after elapsed: Duration) throws -> String {
        defer { count += leases.count }
        switch state {
        case .collecting:
            kept += leases
            return ""
        case .hesitating:
            kept += leases
            guard kept.count >= Self.patienceRows || (elapsed >= Self.patience && !kept.isEmpty) else { return "" }
            defer { kept = [] }
            return try startStreaming(LeaseOrder.key.sorted(kept))
        case .streaming(let table):
            return switch format {
            case .table: table?.lines(of: leases.map { LeaseRendering.row($0, terminal) }, for: terminal) ?? ""
            case .ndjson: try JSONText.lines(leases)
            case .json: try JSONText.elements(leases, isFirst: false)
            }
        }
    }

    /// What to print at the end.
    mutating func end() throws -> String {
        switch state {
        case .collecting, .hesitating:
            try LeaseRendering.list((order ?? .key).sorted(kept), as: format, for: terminal)
        case .streaming: format == .json ? JSONText.endOfElements : ""
        }
    }

    private mutating func startStreaming(_ kept: [LeaseSummary]) throws -> String {
        switch format {
        case .table:
            let table = LeaseRendering.table(kept, for: terminal)
            state = .streaming(table.fixed(for: terminal))
            return table.render(for: terminal)
        case .ndjson:
            state = .streaming(nil)
            return try JSONText.lines(kept)
        case .json:
            state = .streaming(nil)
            return try JSONText.elements(kept, isFirst: true)
        }
    }
}
