import SingleflightCLI

/// What a soak found: kept between chunks, printed at the end.
struct SoakReport: Codable {
    struct Flatness: Codable {
        var what: String
        var unit: String
        var verdict: Trend.Verdict
    }

    var commit: String
    var seed: UInt64
    var minutes: Double
    var settings = SoakSettings()
    /// How much of it is done.
    var secondsDone = 0.0
    var chunks = 0
    var processes = 0
    var calls = 0
    var ends: [String: Int] = [:]
    /// Of the watched workers, to which no trouble comes but the server's.
    var watchedCalls = 0
    var watchedWithoutStore = 0
    var operations = 0
    var leasedOperations = 0
    var overlaps: [String: Int] = [:]
    var fencesBegunAnew = 0
    var troubles: [String: Int] = [:]
    /// Of workers that had other settings when they were started.
    var settingsTried = 0
    /// Leases of workers that had shut down, by what kept them from handing back.
    var leasesLeftBehind: [String: Int] = [:]
    /// Workers that were asked for, when they had shut down.
    var shutdownsChecked = 0
    /// In seconds, from the order until the process was gone.
    var longestShutdown = 0.0
    var scans = 0
    var keysScanned = 0
    /// Of the histories that were checked.
    var requestsChecked = 0
    var keysChecked = 0
    /// In seconds.
    var oldestCall = 0.0
    /// The most of a core that a watched worker took when it had nothing to do, in per cent.
    var busiestAtRest = 0.0
    var flatness: [Flatness] = []
    /// Broken promises; the soak ends at the first chunk that has one.
    var violations: [String] = []

    static let withoutStore = ", without the store"

    var isComplete: Bool { self.secondsDone >= self.minutes * 60 - 1 }

    mutating func add(_ period: WorkerPeriod, isWatched: Bool) {
        for (end, count) in period.ends {
            if isWatched {
                self.watchedCalls += count
                if end.hasSuffix(SoakReport.withoutStore) || end == "unavailable" { self.watchedWithoutStore += count }
            }
            self.calls += count
            self.ends[end, default: 0] += count
        }
        self.violations += period.wrong
    }

    mutating func add(_ ledger: OperationLedger) {
        self.operations += ledger.operations
        self.leasedOperations += ledger.leasedOperations
        self.fencesBegunAnew += ledger.fencesBegunAnew
        self.overlaps.merge(ledger.overlaps, uniquingKeysWith: +)
        self.violations += ledger.violations
    }

    mutating func add(_ verdict: SoakHistory.Verdict) {
        self.requestsChecked += verdict.requests
        self.keysChecked += verdict.keys
        self.violations += verdict.violations
    }

    /// For people, and for the page of figures.
    var markdown: String {
        let overlapping = self.overlaps.values.reduce(0, +)
        var lines = [
            "# Soak, commit \(self.commit), seed \(self.seed)", "",
            "\(self.violations.isEmpty ? "No promise was broken" : "BROKEN PROMISES: \(self.violations.count)"), in "
                + "\(Int(self.secondsDone)) s, \(self.chunks) times \(self.settings.workers) workers "
                + "(\(self.processes) processes in all), \(self.settings.callers) callers each, \(self.settings.keys) keys.",
            "", "| | |", "|---|---|",
            "| calls | \(self.calls), \(self.perSecond(self.calls)) a second; the oldest was \(Self.text(self.oldestCall)) s old |",
            "| calls of the two watched workers that could not ask the store | \(self.watchedWithoutStore) of "
                + "\(self.watchedCalls) |",
            "| operations | \(self.operations), of them \(self.leasedOperations) under a lease, each under one of its own |",
            "| at the same time as another of their key | \(overlapping) |",
            "| fences that began anew when the server had lost them | \(self.fencesBegunAnew) |",
            "| workers with other settings | \(self.settingsTried) |",
            "| shutdowns after which the server was asked for leases | \(self.shutdownsChecked), the longest took "
                + "\(Self.text(self.longestShutdown)) s |",
            "| processor time at rest | \(Self.text(self.busiestAtRest)) % of a core at most |",
            "| scans for keys without time to live | \(self.scans), \(self.keysScanned) keys |",
            "| histories checked | \(self.requestsChecked) requests, of \(self.keysChecked) keys |",
        ]
        func table(_ title: String, _ counts: [String: Int]) {
            guard !counts.isEmpty else { return }
            lines += ["", "| \(title) | times |", "|---|---|"]
            for (name, count) in counts.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
                lines.append("| \(name) | \(count) |")
            }
        }
        table("calls ended as", self.ends)
        table("operations that ran at the same time as another", self.overlaps)
        table("leases of workers that had shut down", self.leasesLeftBehind)
        table("trouble", self.troubles)
        lines += ["", "| flat | early | late | |", "|---|---|---|---|"]
        for item in self.flatness {
            let verdict = item.verdict
            lines.append(
                "| \(item.what) | \(Self.text(verdict.early))\(item.unit) | \(Self.text(verdict.late))\(item.unit) "
                    + "| \(verdict.isFlat ? "yes" : "NO") |"
            )
        }
        if !self.violations.isEmpty {
            lines += [""] + self.violations.prefix(50).map { "- \($0)" }
            lines += [
                "",
                "Again with: make chaos SEED=\(self.seed) MINUTES=\(Self.text(self.minutes))\(self.arguments), at commit "
                    + self.commit,
            ]
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// What else was asked for.
    private var arguments: String {
        guard self.settings.troubles != Chaos.allCases else { return "" }
        return " ARGS=\"\(self.settings.troubles.map { "--only \($0)" }.joined(separator: " "))\""
    }

    private func perSecond(_ count: Int) -> Int { Int(Double(count) / max(self.secondsDone, 1)) }

    /// One decimal, if it is not zero.
    static func text(_ number: Double) -> String {
        let tenths = Int((number * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(abs(tenths % 10))"
    }
}
