/// How leases are printed.
package enum LeaseRendering {
    /// The list, one lease a row.
    package static func list(_ leases: [LeaseSummary], as format: OutputFormat, for terminal: Terminal) throws -> String
    {
        switch format {
        case .json: try JSONText.document(leases)
        case .ndjson: try JSONText.lines(leases)
        case .table: table(leases, for: terminal)
        }
    }

    private static func table(_ leases: [LeaseSummary], for terminal: Terminal) -> String {
        var table = emptyTable
        for lease in leases { table.append(row(lease, terminal)) }
        return table.render(for: terminal)
    }

    static var emptyTable: Table {
        Table([
            .init("KEY", isFlexible: true), .init("GROUP", isFlexible: true), .init("LEADER", isFlexible: true),
            .init("TOKEN"), .init("AGE", .right), .init("LEFT", .right), .init("RENEWALS", .right),
            .init("WAITERS", .right), .init("PROGRESS", isFlexible: true),
        ])
    }

    static func row(_ lease: LeaseSummary, _ terminal: Terminal) -> [Table.Cell] {
        [
            .init(lease.key, .bold), .init(lease.group), .init(lease.leader),
            .init(String(lease.token.prefix(8)), .dim), .init(terminal.duration(lease.age)),
            left(lease, terminal), .init("\(lease.renewals)"), .init("\(lease.waiters)"),
            .init(lease.progress ?? ""),
        ]
    }

    static func left(_ lease: LeaseSummary, _ terminal: Terminal) -> Table.Cell {
        lease.isExpired ? .init("expired", .bad) : .init(terminal.duration(lease.remaining))
    }
}
