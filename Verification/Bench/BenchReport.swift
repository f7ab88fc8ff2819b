/// A line of the table: what was measured, against what, and whether that is good enough.
struct BenchRow: Codable, Sendable {
    enum Verdict: String, Codable, Sendable {
        case pass, miss
        /// Measured, but there was nothing to compare it with.
        case unjudged = "-"
    }

    /// Which side of the budget is the good one.
    enum Direction: String, Codable, Sendable { case atMost, atLeast }

    let name: String
    let unit: String
    let figure: Double
    /// What the baseline reached, in the same unit.
    let baseline: Double?
    let baselineName: String?
    /// The bound on the figure, or on its ratio to the baseline if there is one.
    let budget: Double
    let direction: Direction

    /// Whether it was counted, and so is the same on a slow or busy machine. Everything else is a time, or depends on
    /// times, and is judged only by its ratio to a baseline of the same run.
    var isCounted: Bool { baselineName == nil }

    /// What the budget is about: the ratio to the baseline, or the figure.
    var measure: Double? {
        guard baselineName != nil else { return figure }
        guard let baseline, baseline > 0 else { return nil }
        return figure / baseline
    }

    var verdict: Verdict {
        guard let measure else { return .unjudged }
        return isWithin(budget, measure) ? .pass : .miss
    }

    /// More than twice as bad as the budget.
    var isGross: Bool {
        guard let measure else { return false }
        return !isWithin(grossBound, measure)
    }

    /// Worse than the row is known to be, or if nothing is known of it more than twice as bad as the budget.
    var isRegression: Bool {
        guard let measure else { return false }
        return !isWithin(KnownMiss.of(self)?.bound ?? grossBound, measure)
    }

    /// Listed among the known misses, and none any more: the list must be shortened.
    var isBetterThanKnown: Bool { KnownMiss.of(self) != nil && verdict == .pass }

    private var grossBound: Double {
        switch direction {
        // One command or allocation more is gross where none is allowed, a thousandth of one is not.
        case .atMost: max(budget * 2, budget + 0.5)
        case .atLeast: budget / 2
        }
    }

    private func isWithin(_ budget: Double, _ measure: Double) -> Bool {
        switch direction {
        case .atMost: measure <= budget
        case .atLeast: measure >= budget
        }
    }

    /// Something that was counted.
    static func count(_ budget: Double, _ name: String, _ figure: Double, _ unit: String = "") -> BenchRow {
        BenchRow(
            name: name,
            unit: unit,
            figure: figure,
            baseline: nil,
            baselineName: nil,
            budget: budget,
            direction: .atMost
        )
    }

    /// - Parameter direction: whether the figure is to be at most or at least `budget` times the baseline.
    static func ratio(
        _ direction: Direction,
        _ budget: Double,
        _ name: String,
        _ figure: Double,
        _ unit: String,
        to baseline: Double?,
        _ baselineName: String
    ) -> BenchRow {
        BenchRow(
            name: name,
            unit: unit,
            figure: figure,
            baseline: baseline,
            baselineName: baselineName,
            budget: budget,
            direction: direction
        )
    }
}

/// Everything that a run of the suite found.
struct BenchReport: Codable, Sendable {
    struct Machine: Codable, Sendable {
        let processors: Int
        let system: String
        /// How much longer the slowest tenth of pieces of equal work took than the fastest, between the parts of the
        /// run.
        let noise: Double

        var isNoisy: Bool { noise > 1.3 }
    }

    let machine: Machine
    let isQuick: Bool
    let rows: [BenchRow]
    /// Nil if that part was left out.
    let local: LocalFigures?
    let client: [ClientBench.Figures]
    /// Everything else that was measured, by name.
    let further: [String: Double]

    var missed: [BenchRow] { rows.filter { $0.verdict == .miss } }
    var gross: [BenchRow] { rows.filter(\.isGross) }

    /// What a quick run fails for. Where others were at work on the machine, only what was counted is judged.
    var regressions: [BenchRow] {
        rows.filter { $0.isRegression && (!machine.isNoisy || $0.isCounted) }
    }
}
