import SingleflightCLI

/// What a run of the suite found, as a table.
enum BenchTable {
    static func text(_ report: BenchReport, for terminal: Terminal) -> String {
        var table = Table([
            .init("what", isFlexible: true), .init("figure", .right), .init("unit"), .init("baseline", .right),
            .init("of", isFlexible: true), .init("ratio", .right), .init("budget", .right), .init("verdict"),
        ])
        for row in report.rows {
            let sign = row.direction == .atMost ? "<=" : ">="
            table.append([
                .init(row.name), .init(BenchNumber.text(row.figure)), .init(row.unit),
                .init(row.baseline.map(BenchNumber.text) ?? ""), .init(row.baselineName ?? ""),
                .init(row.baselineName == nil ? "" : row.measure.map(BenchNumber.text) ?? "?"),
                .init("\(sign) \(BenchNumber.text(row.budget))" + (row.baselineName == nil ? "" : " x")),
                .init(row.verdict.rawValue, row.verdict == .miss ? .bold : nil),
            ])
        }
        var text = table.render(for: terminal)
        text += "\n\(report.rows.count - report.missed.count) of \(report.rows.count) within budget"
        text += ", \(report.gross.count) off by more than twice\n"
        for row in report.rows where row.isGross {
            guard let known = KnownMiss.of(row) else { continue }
            let bound = BenchNumber.text(known.bound)
            text += "known: \(row.name): \(known.reason) (no worse than \(bound) is a pass of a quick run)\n"
        }
        for row in report.rows where row.isBetterThanKnown {
            text += "better than known: \(row.name): take it off the known misses\n"
        }
        if report.machine.isNoisy {
            text += "The machine was busy (\(BenchNumber.text(report.machine.noise)) x between slow and fast): "
            text += "no time is judged, ratios say something at best.\n"
        }
        return text
    }
}
