import FaultProxy

/// The matrix as Markdown: one table for each rule, one row for each point and connection, one column for each fault.
package struct MatrixTable {
    private let reports: [String: CellReport]

    package init(_ reports: [CellReport]) {
        self.reports = Dictionary(reports.map { ($0.cell, $0) }, uniquingKeysWith: { $1 })
    }

    package var markdown: String {
        MatrixCell.Rule.allCases.map { self.table($0) }.joined(separator: "\n")
    }

    /// What it came to, in a line.
    package var summary: String {
        let all = self.reports.values
        let slowest = all.max { $0.waited < $1.waited }
        let beyond = all.count { $0.waited > MatrixTimes.bound }
        let requests = all.reduce(0) { $0 + $1.requests }
        let milliseconds = Int((slowest?.waited ?? .zero) / .milliseconds(1))
        return "\(all.count) cells, \(all.count { !$0.problems.isEmpty }) with problems, \(requests) requests checked; "
            + "the longest wait was \(milliseconds) ms (\(slowest?.cell ?? "none")), "
            + "\(beyond) waits beyond the bound of \(Int(MatrixTimes.bound / .milliseconds(1))) ms"
    }

    private func table(_ rule: MatrixCell.Rule) -> String {
        let faults = Fault.ofNetworks
        var lines = [
            "| \(rule.rawValue) | " + faults.map { $0.short }.joined(separator: " | ") + " |",
            "|---|" + faults.map { _ in "---|" }.joined(),
        ]
        for point in ProtocolPoint.allCases {
            for connection in FaultProxy.Connection.allCases {
                let cells = faults.map { fault in
                    let cell = MatrixCell(point: point, connection: connection, fault: fault, rule: rule)
                    return self.reports["\(cell)"].map { $0.endings + ($0.problems.isEmpty ? "" : " !") } ?? ""
                }
                lines.append("| \(point.rawValue), \(connection.rawValue) | " + cells.joined(separator: " | ") + " |")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension Fault {
    /// For the head of a column.
    var short: String {
        switch self {
        case .cutBeforeRequest: "cut"
        case .cutBeforeReply: "cut, done"
        case .resetBeforeRequest: "reset"
        case .resetBeforeReply: "reset, done"
        case .truncatedReply: "half a reply"
        case .latency: "slow"
        case .lateReply: "late"
        case .jitter: "jitter"
        case .slices: "slices"
        case .blackHoleToServer: "hole, to"
        case .blackHoleToClient: "hole, back"
        case .halfCloseToClient: "end, back"
        case .halfCloseToServer: "end, to"
        case .refuse: "refused"
        case .loseAnnouncements: "lost news"
        case .holdRequest: "held"
        case .holdReply: "reply held"
        }
    }
}
