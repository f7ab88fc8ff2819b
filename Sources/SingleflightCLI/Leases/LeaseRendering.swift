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

    /// Everything about one lease.
    package static func detail(_ lease: LeaseSummary, as format: OutputFormat, for terminal: Terminal) throws -> String
    {
        switch format {
        case .json: try JSONText.document(lease)
        case .ndjson: try JSONText.lines([lease])
        case .table: card(lease, for: terminal)
        }
    }

    private static func table(_ leases: [LeaseSummary], for terminal: Terminal) -> String {
        var table = Table([
            .init("KEY", isFlexible: true), .init("GROUP", isFlexible: true), .init("LEADER", isFlexible: true),
            .init("TOKEN"), .init("AGE", .right), .init("LEFT", .right), .init("RENEWALS", .right),
            .init("WAITERS", .right), .init("PROGRESS", isFlexible: true),
        ])
        for lease in leases {
            table.append([
                .init(lease.key, .bold), .init(lease.group), .init(lease.leader),
                .init(String(lease.token.prefix(8)), .dim), .init(terminal.duration(lease.age)),
                left(lease, terminal), .init("\(lease.renewals)"), .init("\(lease.waiters)"),
                .init(lease.progress ?? ""),
            ])
        }
        return table.render(for: terminal)
    }

    private static func card(_ lease: LeaseSummary, for terminal: Terminal) -> String {
        let left = left(lease, terminal)
        let lines: [(String, String, TextStyle?)] = [
            ("key", lease.key, .bold), ("group", lease.group, nil), ("leader", lease.leader, nil),
            ("token", lease.token, nil), ("age", terminal.duration(lease.age), nil),
            ("lease left", left.text, left.style), ("renewals", "\(lease.renewals)", nil),
            ("waiters", "\(lease.waiters)", nil), ("progress", lease.progress ?? "-", nil),
        ]
        return lines.map { name, value, style in
            name.padding(toWidth: 12) + terminal.styled(terminal.safe(value), style) + "\n"
        }.joined()
    }

    private static func left(_ lease: LeaseSummary, _ terminal: Terminal) -> Table.Cell {
        lease.isExpired ? .init("expired", .bad) : .init(terminal.duration(lease.remaining))
    }
}

extension String {
    fileprivate func padding(toWidth width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
