/// How leases are printed.
package enum LeaseRendering {
    /// The list, one lease a row.
    package static func list(_ leases: [LeaseSummary], as format: OutputFormat, for terminal: Terminal) throws -> String
    {
        switch format {
        case .json: try JSONText.document(leases)
        case .ndjson: try JSONText.lines(leases)
        case .table: table(leases, for: terminal).render(for: terminal)
        }
    }

    /// As many columns as there is room for, and a row for each of `leases`.
    static func table(_ leases: some Collection<LeaseSummary>, for terminal: Terminal) -> Table {
        let isNamespaceTold = leases.contains { $0.namespace != nil }
        var table = Table(fields(for: terminal, isNamespaceTold: isNamespaceTold).map(column))
        for lease in leases { table.append(row(lease, terminal)) }
        return table
    }

    static func row(_ lease: LeaseSummary, _ terminal: Terminal) -> [Table.Cell] {
        fields(for: terminal, isNamespaceTold: lease.namespace != nil).map { cell($0, lease, terminal) }
    }

    static func left(_ lease: LeaseSummary, _ terminal: Terminal) -> Table.Cell {
        lease.isExpired
            ? .init("expired", .bad) : .init(terminal.duration(lease.remaining), lease.isEndangered ? .warning : nil)
    }

    /// So that sentences can tell of those who wait.
    static func processes(_ count: Int) -> String { count == 1 ? "1 process" : "\(count) processes" }

    private enum Field: CaseIterable {
        case namespace, key, group, leader, token, age, left, renewals, waiters, progress
    }

    /// What there is no room for in a narrow terminal is what `show` tells as well. What leases are sorted by stays.
    private static func fields(for terminal: Terminal, isNamespaceTold: Bool) -> [Field] {
        let spared: [Field] =
            switch (terminal.width ?? .max) - (isNamespaceTold ? 14 : 0) {
            case ..<46: [.group, .leader, .token, .renewals, .progress]
            case ..<56: [.group, .token, .renewals, .progress]
            case ..<66: [.group, .token, .renewals]
            case ..<84: [.token, .renewals]
            default: []
            }
        return Field.allCases.filter { !spared.contains($0) && (isNamespaceTold || $0 != .namespace) }
    }

    private static func column(_ field: Field) -> Table.Column {
        switch field {
        case .namespace: .init("NAMESPACE", isFlexible: true)
        case .key: .init("KEY", isFlexible: true)
        case .group: .init("GROUP", isFlexible: true)
        case .leader: .init("LEADER", isFlexible: true)
        case .token: .init("TOKEN")
        case .age: .init("AGE", .right)
        case .left: .init("LEFT", .right)
        case .renewals: .init("RENEWALS", .right)
        case .waiters: .init("WAITERS", .right)
        case .progress: .init("PROGRESS", isFlexible: true)
        }
    }

    private static func cell(_ field: Field, _ lease: LeaseSummary, _ terminal: Terminal) -> Table.Cell {
        switch field {
        case .namespace: .init(lease.namespace ?? "")
        // The key may be empty, and has to be seen.
        case .key: .init(lease.key.isEmpty ? "\"\"" : ShellWord.plain(lease.key), .bold)
        case .group: .init(lease.group)
        case .leader: .init(lease.leader)
        case .token: .init(String(lease.token.prefix(8)), .dim)
        case .age: .init(terminal.duration(lease.age))
        case .left: left(lease, terminal)
        case .renewals: .init("\(lease.renewals)")
        case .waiters: .init("\(lease.waiters)")
        case .progress: .init(ProgressBar.text(lease.fraction, lease.progress, for: terminal))
        }
    }
}
