import Foundation
import Testing

@testable import SingleflightCLI

@Suite("What bench prints")
struct BenchReportTests {
    private static let report: LoadReport = {
        var count = LoadCount()
        (count.calls, count.runs, count.seconds) = (1_000, 10, 2)
        for value in 1...1_000 { count.wakeUps.record(nanoseconds: Int64(value) * 10_000) }
        return LoadReport(
            processes: 2,
            callers: 64,
            keys: 100,
            zipf: 1,
            payload: 100,
            count: count,
            redisCPU: 1_260,
            redisCalls: 8
        )
    }()

    @Test("times are in the unit that people would choose")
    func table() {
        let text = LoadRendering.summary(Self.report, for: Terminal())
        #expect(text.contains("p50 5.0 ms, p99 9.7 ms, p99.9 10 ms (1000 samples)"), "\(text)")
        #expect(text.contains("Redis CPU per flight         1.3 ms"), "\(text)")
        #expect(!text.contains("primaries"))
        var report = Self.report
        report.primaries = 3
        let spread = LoadRendering.summary(report, for: Terminal())
        #expect(spread.contains("Redis CPU per flight         1.3 ms (of 3 primaries together)"), "\(spread)")
        #expect(LoadRendering.summary(Self.report, for: Terminal(isASCII: true)).allSatisfy { $0.isASCII })
    }

    @Test("JSON has percentiles by name, and no buckets")
    func json() throws {
        let text = try JSONText.line(Self.report)
        let values = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        let half = try #require(values["wakeUpP50Microseconds"] as? Double)
        #expect(abs(half - 5_000) < 200)
        #expect(values["flightsPerSecond"] as? Double == 5)
        #expect(values["count"] == nil && !text.contains("counts"))
    }
}
