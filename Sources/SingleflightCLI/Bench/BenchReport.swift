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

    /// More than twice as bad as the budget: not noise any more.
    var isGross: Bool {
        guard let measure else { return false }
        switch direction {
        case .atMost: return measure > max(budget * 2, budget + 0.5)
        case .atLeast: return measure < budget / 2
        }
    }

    private func isWithin(_ budget: Double, _ measure: Double) -> Bool {
        switch direction {
        case .atMost: measure <= budget
        case .atLeast: measure >= budget
        }
    }

    static func atMost(_ budget: Double, _ name: String, _ figure: Double, _ unit: String) -> BenchRow {
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
        /// How much longer the slowest tenth of pieces of equal work took than the fastest, between the parts of the run.
        let noise: Double

        var isNoisy: Bool { noise > 1.3 }
    }

    let machine: Machine
    let isQuick: Bool
    let rows: [BenchRow]
    let local: LocalFigures
    let client: [ClientBench.Figures]
    /// Everything else that was measured, by name.
    let further: [String: Double]

    var missed: [BenchRow] { rows.filter { $0.verdict == .miss } }
    var gross: [BenchRow] { rows.filter(\.isGross) }
}
