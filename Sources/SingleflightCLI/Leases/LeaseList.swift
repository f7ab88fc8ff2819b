/// Prints leases as they are found, or all at the end: as value, rows come in and text goes out.
struct LeaseList {
    /// A short list is sorted by key although nobody asked; a longer one is not waited for.
    private static let patience = Duration.milliseconds(250)
    private static let patienceRows = 200

    private enum State {
        /// Everything is kept until the end.
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
    private var seen: Set<String> = []

    /// How many leases were found.
    var count: Int { seen.count }
    /// Whether nothing is printed before everything was found.
    var waitsForAll: Bool {
        if case .collecting = state { true } else { false }
    }

    init(format: OutputFormat, terminal: Terminal, order: LeaseOrder?) {
        self.format = format
        self.terminal = terminal
        self.order = order
        state =
            switch format {
            case .ndjson where order == nil: .streaming(nil)
            case .table where order == nil && terminal.isInteractive: .hesitating
            case .json, .ndjson, .table: .collecting
            }
    }

    /// What to print now; empty if nothing.
    mutating func add(_ leases: [LeaseSummary], after elapsed: Duration) throws -> String {
        let new = leases.filter { seen.insert($0.token).inserted }
        switch state {
        case .collecting:
            kept += new
            return ""
        case .hesitating:
            kept += new
            guard kept.count >= Self.patienceRows || (elapsed >= Self.patience && !kept.isEmpty) else { return "" }
            return startStreaming()
        case .streaming(let table):
            guard let table else { return try JSONText.lines(new) }
            return table.lines(of: new.map { LeaseRendering.row($0, terminal) }, for: terminal)
        }
    }

    /// What to print at the end.
    mutating func end() throws -> String {
        switch state {
        case .collecting, .hesitating:
            try LeaseRendering.list((order ?? .key).sorted(kept), as: format, for: terminal)
        case .streaming: ""
        }
    }

    private mutating func startStreaming() -> String {
        var table = LeaseRendering.emptyTable
        for lease in kept { table.append(LeaseRendering.row(lease, terminal)) }
        kept = []
        defer { state = .streaming(table.fixed(for: terminal)) }
        return table.render(for: terminal)
    }
}
