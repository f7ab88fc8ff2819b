import SingleflightCLI

/// What some failovers found: printed at the end.
struct FailoverReport {
    /// What was done, in one word.
    var title: String
    var seed: UInt64
    var settings: SoakSettings
    var failovers: [String: Int] = [:]
    var calls = 0
    var ends: [String: Int] = [:]
    var operations = 0
    var leasedOperations = 0
    var overlaps: [String: Int] = [:]
    /// In seconds.
    var oldestCall = 0.0
    /// How long after each of them every worker had a coordinated result again, in seconds.
    var recoveries: [Double] = []
    /// Broken promises.
    var violations: [String] = []

    var markdown: String {
        let count = self.failovers.values.reduce(0, +)
        let sorted = self.recoveries.sorted()
        let broken = self.violations.isEmpty ? "No promise was broken" : "BROKEN PROMISES: \(self.violations.count)"
        let middle = sorted.isEmpty ? 0 : sorted[sorted.count / 2]
        var lines = [
            "# \(count) \(self.title), seed \(self.seed)", "",
            "\(broken), with \(self.settings.workers) workers, \(self.settings.callers) callers each, "
                + "\(self.settings.keys) keys.",
            "", "| | |", "|---|---|",
            "| calls | \(self.calls); the oldest was \(SoakReport.text(self.oldestCall)) s old |",
            "| coordinated results in every worker again, after it was over | "
                + "half of the times within \(SoakReport.text(middle)) s, always within "
                + "\(SoakReport.text(sorted.last ?? 0)) s |",
            "| operations | \(self.operations), of them \(self.leasedOperations) under a lease, each under one of its "
                + "own |",
        ]
        func table(_ title: String, _ counts: [String: Int]) {
            lines += ["", "| \(title) | times |", "|---|---|"]
            for (name, count) in counts.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
                lines.append("| \(name) | \(count) |")
            }
        }
        table(self.title, self.failovers)
        table("calls ended as", self.ends)
        table("operations that ran at the same time as another of their key", self.overlaps)
        if !self.violations.isEmpty { lines += [""] + self.violations.prefix(50).map { "- \($0)" } }
        return lines.joined(separator: "\n") + "\n"
    }
}
