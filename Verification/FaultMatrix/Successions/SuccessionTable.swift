/// Flights that another of their key follows, as Markdown.
package struct SuccessionTable {
    private let reports: [String: CellReport]

    package init(_ reports: [CellReport]) {
        self.reports = Dictionary(reports.map { ($0.cell, $0) }, uniquingKeysWith: { $1 })
    }

    package var markdown: String {
        let rules = MatrixCell.Rule.allCases
        let overtaken = self.table(
            "late",
            OvertakenCell.Blow.allCases.flatMap { blow in rules.map { (blow: blow, rule: $0) } },
            head: { "\($0.blow == .kill ? "KILL" : "STOP"), \($0.rule.rawValue)" },
            rows: OvertakenCell.points.map { ($0.rawValue, $0) },
            name: { "\(OvertakenCell(point: $0, blow: $1.blow, rule: $1.rule))" }
        )
        let second = self.table(
            "the first",
            rules,
            head: { $0.rawValue },
            rows: SecondFlightCell.End.allCases.map { ($0.text, $0) },
            name: { "\(SecondFlightCell(end: $0, rule: $1))" }
        )
        return overtaken + "\n" + second
    }

    /// What it came to, in a line.
    package var summary: String {
        let all = self.reports.values
        let slowest = all.map(\.waited).max() ?? .zero
        return "\(all.count) cells of successions, \(all.count { !$0.problems.isEmpty }) with problems; "
            + "the longest wait was \(Int(slowest / .milliseconds(1))) ms"
    }

    private func table<Column, Row>(
        _ title: String,
        _ columns: [Column],
        head: (Column) -> String,
        rows: [(text: String, row: Row)],
        name: (Row, Column) -> String
    ) -> String {
        var lines = [
            "| \(title) | " + columns.map(head).joined(separator: " | ") + " |",
            "|---|" + columns.map { _ in "---|" }.joined(),
        ]
        for (text, row) in rows {
            let cells = columns.map { column in
                self.reports[name(row, column)].map { $0.endings + ($0.problems.isEmpty ? "" : " !") } ?? ""
            }
            lines.append("| \(text) | " + cells.joined(separator: " | ") + " |")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension SecondFlightCell.End {
    /// For the head of a row.
    fileprivate var text: String {
        switch self {
        case .completed: "is completed"
        case .revoked: "is revoked"
        case .shutDown: "loses its leader to a shutdown"
        }
    }
}
