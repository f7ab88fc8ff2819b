import Foundation

/// What a load found, as text.
enum LoadRendering {
    static func summary(_ report: LoadReport, for terminal: Terminal) -> String {
        func time(_ quantile: Double) -> String { report.wakeUp(quantile).map(terminal.duration) ?? "-" }
        let share = report.primaries == 1 ? "" : " (of \(report.primaries) primaries together)"
        return """
            calls per second             \(BenchNumber.text(report.callsPerSecond))
            flights per second           \(BenchNumber.text(report.runsPerSecond))
            calls per flight             \(BenchNumber.text(report.callsPerRun))
            failed calls                 \(report.count.failures)
            wake-up across processes     p50 \(time(0.5)), p99 \(time(0.99)), p99.9 \(time(0.999)) \
            (\(report.count.wakeUps.count) samples)
            Redis CPU per flight         \(terminal.duration(.nanoseconds(Int64(report.redisCPU * 1_000))))\(share)
            Redis calls per flight       \(BenchNumber.text(report.redisCalls)) (scripts' own included)

            """
    }
}

/// Figures with three digits or so.
package enum BenchNumber {
    package static func text(_ value: Double) -> String {
        switch abs(value) {
        case 10_000...: String(format: "%.0fk", value / 1000)
        case 100...: String(format: "%.0f", value)
        case 10...: String(format: "%.1f", value)
        default: String(format: "%.2f", value)
        }
    }
}
