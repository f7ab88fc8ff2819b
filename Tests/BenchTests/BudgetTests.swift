import SingleflightCLI
import Testing

@testable import Bench

@Suite("Budgets")
struct BudgetTests {
    @Test("a figure without a baseline is judged by itself, one whose baseline is missing not at all")
    func verdicts() {
        #expect(BenchRow.count(8, "", 7).verdict == .pass)
        #expect(BenchRow.count(8, "", 9).verdict == .miss)
        #expect(BenchRow.ratio(.atLeast, 0.5, "", 60, "/s", to: 100, "C").verdict == .pass)
        #expect(BenchRow.ratio(.atLeast, 0.5, "", 40, "/s", to: 100, "C").verdict == .miss)
        #expect(BenchRow.ratio(.atLeast, 0.5, "", 40, "/s", to: nil, "C").verdict == .unjudged)
    }

    @Test("only what misses its budget by more than twice is a gross miss")
    func grossMisses() {
        #expect(!BenchRow.count(8, "", 15).isGross)
        #expect(BenchRow.count(8, "", 17).isGross)
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
                rows: [
                    .ratio(.atMost, 1, "timed", 9, "us", to: 1, "C"), .count(1, "counted", 9), .count(1, "fine", 1),
                ],
                local: LocalFigures(),
                client: [],
                further: [:]
            ).regressions.map(\.name)
        }
        #expect(regressions(noise: 1.1) == ["timed", "counted"])
        #expect(regressions(noise: 2) == ["counted"])
    }
}
