import Testing

@testable import SingleflightCLI

@Suite("Benchmark figures")
struct BenchTests {
    @Test("a histogram's quantile is off by no more than a 32nd")
    func quantileIsClose() {
        var histogram = LatencyHistogram()
        for value in 1...100_000 { histogram.record(nanoseconds: Int64(value)) }
        for (quantile, exact) in [(0.5, 50_000.0), (0.99, 99_000), (0.999, 99_900)] {
            let found = Double(histogram.quantile(quantile))
            #expect(found <= exact && found > exact * 31 / 32 - 1)
        }
    }

    @Test("merged histograms say what one of all samples would")
    func mergeKeepsSamples() {
        var (low, high, all) = (LatencyHistogram(), LatencyHistogram(), LatencyHistogram())
        for value: Int64 in 0..<1000 {
            low.record(nanoseconds: value)
            high.record(nanoseconds: value * 1_000_000)
            all.record(nanoseconds: value)
            all.record(nanoseconds: value * 1_000_000)
        }
        low.merge(high)
        #expect(low.count == 2000)
        for quantile in [0.1, 0.5, 0.9, 1] { #expect(low.quantile(quantile) == all.quantile(quantile)) }
    }

    @Test("a figure without a baseline is judged by itself, one whose baseline is missing not at all")
    func verdicts() {
        #expect(BenchRow.atMost(8, "", 7, "us").verdict == .pass)
        #expect(BenchRow.atMost(8, "", 9, "us").verdict == .miss)
        #expect(BenchRow.ratio(.atLeast, 0.5, "", 60, "/s", to: 100, "C").verdict == .pass)
        #expect(BenchRow.ratio(.atLeast, 0.5, "", 40, "/s", to: 100, "C").verdict == .miss)
        #expect(BenchRow.ratio(.atLeast, 0.5, "", 40, "/s", to: nil, "C").verdict == .unjudged)
    }

    @Test("only what misses its budget by more than twice is a gross miss")
    func grossMisses() {
        #expect(!BenchRow.atMost(8, "", 15, "us").isGross)
        #expect(BenchRow.atMost(8, "", 17, "us").isGross)
        #expect(!BenchRow.ratio(.atLeast, 0.8, "", 50, "/s", to: 100, "C").isGross)
        #expect(BenchRow.ratio(.atLeast, 0.8, "", 30, "/s", to: 100, "C").isGross)
    }

    @Test("a known miss is a regression only beyond its own bound, and is to be taken off the list within the budget")
    func knownMisses() throws {
        let known = try #require(KnownMiss.all.first)
        func row(_ figure: Double) -> BenchRow { .ratio(.atMost, 1, known.name, figure, "", to: 1, "") }
        #expect(row(known.bound).isGross)
        #expect(!row(known.bound).isRegression)
        #expect(row(known.bound + 1).isRegression)
        #expect(row(1).isBetterThanKnown)
        #expect(!row(2).isBetterThanKnown)
    }

    @Test("on a busy machine only what was counted fails a quick run")
    func noise() {
        func regressions(noise: Double) -> [String] {
            BenchReport(
                machine: .init(processors: 2, system: "", noise: noise),
                isQuick: true,
                rows: [.atMost(1, "timed", 9, ""), .atMost(1, "counted", 9, "", .counted), .atMost(1, "fine", 1, "")],
                local: LocalFigures(),
                client: [],
                further: [:]
            ).regressions.map(\.name)
        }
        #expect(regressions(noise: 1.1) == ["timed", "counted"])
        #expect(regressions(noise: 2) == ["counted"])
    }

    @Test("a payload tells when it was made")
    func payloadTellsTime() {
        let before = MonotonicTime.now
        let payload = StampedPayload.make(bytes: 100)
        #expect(payload.count == 100)
        #expect((before...MonotonicTime.now).contains(StampedPayload.time(of: payload)))
    }

    @Test("of skewed keys the first is drawn most")
    func skewedKeys() {
        let keys = SkewedKeys(count: 100, skew: 1)
        var counts: [String: Int] = [:]
        for _ in 0..<10_000 { counts[keys.draw(), default: 0] += 1 }
        #expect(counts.count <= 100)
        #expect(counts.max { $0.value < $1.value }?.key == "key:0")
    }
}
