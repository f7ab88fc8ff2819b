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
