import Foundation

/// Benchmark results as text.
enum BenchRendering {
    static func table(_ report: BenchReport, for terminal: Terminal) -> String {
        var table = Table([
            .init("what", isFlexible: true), .init("figure", .right), .init("unit"), .init("baseline", .right),
            .init("of", isFlexible: true), .init("ratio", .right), .init("budget", .right), .init("verdict"),
        ])
        for row in report.rows {
            let sign = row.direction == .atMost ? "<=" : ">="
            table.append([
                .init(row.name), .init(number(row.figure)), .init(row.unit),
                .init(row.baseline.map(number) ?? ""), .init(row.baselineName ?? ""),
                .init(row.baselineName == nil ? "" : row.measure.map(number) ?? "?"),
                .init("\(sign) \(number(row.budget))" + (row.baselineName == nil ? "" : " x")),
                .init(row.verdict.rawValue, row.verdict == .miss ? .bold : nil),
            ])
        }
        var text = table.render(for: terminal)
        text += "\n\(report.rows.count - report.missed.count) of \(report.rows.count) within budget"
        text += ", \(report.gross.count) off by more than twice\n"
        for row in report.rows where row.isGross {
            guard let known = KnownMiss.of(row) else { continue }
            text +=
                "known: \(row.name): \(known.reason) (no worse than \(number(known.bound)) is a pass of a quick run)\n"
        }
        for row in report.rows where row.isBetterThanKnown {
            text += "better than known: \(row.name): take it off the known misses\n"
        }
        if report.machine.isNoisy {
            text +=
                "The machine was busy (\(number(report.machine.noise)) x between slow and fast): no time is judged, ratios say something at best.\n"
        }
        return text
    }

    static func summary(_ load: LoadReport) -> String {
        func microseconds(_ quantile: Double) -> String {
            number(Double(load.count.wakeUps.quantile(quantile)) / 1000)
        }
        return """
            calls per second             \(number(load.callsPerSecond))
            flights per second           \(number(load.runsPerSecond))
            calls per flight             \(number(load.callsPerRun))
            failed calls                 \(load.count.failures)
            wake-up across processes     p50 \(microseconds(0.5)), p99 \(microseconds(0.99)), \
            p99.9 \(microseconds(0.999)) us (\(load.count.wakeUps.count) samples)
            Redis CPU per flight         \(number(load.redisCPU)) us
            Redis calls per flight       \(number(load.redisCalls)) (scripts' own included)

            """
    }

    static func number(_ value: Double) -> String {
        switch abs(value) {
        case 10_000...: String(format: "%.0fk", value / 1000)
        case 100...: String(format: "%.0f", value)
        case 10...: String(format: "%.1f", value)
        default: String(format: "%.2f", value)
        }
    }
}
