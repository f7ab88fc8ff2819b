import Foundation

/// What a load found, as text.
enum LoadRendering {
    static func summary(_ report: LoadReport) -> String {
        let wakeUps = report.count.wakeUps
        func microseconds(_ quantile: Double) -> String { BenchNumber.text(Double(wakeUps.quantile(quantile)) / 1000) }
        return """
            calls per second             \(BenchNumber.text(report.callsPerSecond))
            flights per second           \(BenchNumber.text(report.runsPerSecond))
            calls per flight             \(BenchNumber.text(report.callsPerRun))
            failed calls                 \(report.count.failures)
            wake-up across processes     p50 \(microseconds(0.5)), p99 \(microseconds(0.99)), \
            p99.9 \(microseconds(0.999)) us (\(wakeUps.count) samples)
            Redis CPU per flight         \(BenchNumber.text(report.redisCPU)) us
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
