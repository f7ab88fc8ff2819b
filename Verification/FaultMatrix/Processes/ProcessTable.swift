/// The process cells as Markdown: one row for each point and moment, one column for each blow and rule.
package struct ProcessTable {
    private let reports: [String: CellReport]

    package init(_ reports: [CellReport]) {
        self.reports = Dictionary(reports.map { ($0.cell, $0) }, uniquingKeysWith: { $1 })
    }

    package var markdown: String {
        let columns = MatrixCell.Rule.allCases.flatMap { rule in
            ProcessCell.Blow.allCases.map { (rule: rule, blow: $0) }
        }
        var lines = [
            "| held | " + columns.map { "\($0.blow.short), \($0.rule.rawValue)" }.joined(separator: " | ") + " |",
            "|---|" + columns.map { _ in "---|" }.joined(),
        ]
        for point in ProcessCell.points {
            for moment in ProcessCell.Moment.allCases {
                let cells = columns.map { column in
                    let cell = ProcessCell(point: point, moment: moment, blow: column.blow, rule: column.rule)
                    return self.reports["\(cell)"].map { $0.endings + ($0.problems.isEmpty ? "" : " !") } ?? ""
                }
                lines.append("| \(moment.rawValue) \(point.rawValue) | " + cells.joined(separator: " | ") + " |")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// What it came to, in a line.
    package var summary: String {
        let all = self.reports.values
        let slowest = all.max { $0.waited < $1.waited }
        return "\(all.count) process cells, \(all.count { !$0.problems.isEmpty }) with problems; the longest wait was "
            + "\(Int((slowest?.waited ?? .zero) / .milliseconds(1))) ms (\(slowest?.cell ?? "none")), "
            + "\(all.count { $0.waited > MatrixTimes.bound }) beyond the bound; "
            + "\(all.reduce(0) { $0 + $1.operations }) operations"
    }
}

extension ProcessCell.Blow {
    /// For the head of a column.
    var short: String {
        switch self {
        case .kill: "KILL"
        case .terminate: "TERM"
        case .pauseShortly: "STOP 0.1 s"
        case .pauseHalfTheLease: "STOP ½ lease"
        case .pausePastTheLease: "STOP 1½ leases"
        case .pausePastTheGrace: "STOP past the grace"
        }
    }
}
