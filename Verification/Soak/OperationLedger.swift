import SingleflightCLI

/// Something the soak did to the system, and when.
struct Trouble: Codable, Equatable {
    var kind: String
    var start: MonotonicTime
    /// `nil` as long as it lasts.
    var end: MonotonicTime?

    init(kind: String, start: MonotonicTime, end: MonotonicTime?) {
        (self.kind, self.start, self.end) = (kind, start, end)
    }

    /// One that is over at once.
    init(kind: String, start: MonotonicTime) {
        self.init(kind: kind, start: start, end: start)
    }
}

/// The account of all operations: which ran at the same time as another of their key, and why; and what must never be.
///
/// A value: records come in, in about the order of their ends, findings go out.
struct OperationLedger {
    /// Operations that ran at the same time as another of their key.
    private(set) var overlaps: [String: Int] = [:]
    private(set) var operations = 0
    private(set) var leasedOperations = 0
    /// Fences that were not greater than an earlier one, because the server had lost all that it knew.
    private(set) var fencesBegunAnew = 0
    /// Broken promises, in words.
    private(set) var violations: [String] = []

    private var recent: [Int: [OperationRecord]] = [:]
    private var runs: [String: (run: String, time: MonotonicTime)] = [:]
    private var troubles: [Trouble] = []
    /// When the server lost all that it knew: from the order to end until its end.
    private var losses: [ClosedRange<MonotonicTime>] = []

    /// Whether a failover may lose a lease that was granted: then two may lead at the same time, under different ones.
    private let survivesLostWrites: Bool

    init(survivesLostWrites: Bool = false) {
        self.survivesLostWrites = survivesLostWrites
    }

    /// How long records are kept for comparison: longer than anything that compares with them takes.
    private static let memory = Duration.seconds(30)
    /// How long a trouble may be the cause of what happens after it: two leases, and a reconnection.
    private static let reach = Duration.seconds(1)
    /// How long a leader may believe in a lease that the server has lost: it was renewed just before at the latest, and
    /// is believed in until it would have run out. The rest is for the reading of clocks.
    static let lossReach = WorkerSettings.longestLease + .milliseconds(20)

    mutating func add(_ trouble: Trouble) { self.troubles.append(trouble) }

    /// The trouble of this kind that lasted longest is over.
    mutating func end(_ kind: String, at time: MonotonicTime) {
        guard let index = self.troubles.firstIndex(where: { $0.kind == kind && $0.end == nil }) else { return }
        self.troubles[index].end = time
    }

    /// The server lost all that it knew within this time.
    mutating func add(loss: ClosedRange<MonotonicTime>) { self.losses.append(loss) }

    mutating func add(_ record: OperationRecord) {
        self.operations += 1
        if record.token != nil { self.leasedOperations += 1 }
        for token in Set([record.token, record.lastToken].compactMap { $0 }) {
            // I12: a lease is for one operation.
            self.check(token, record.run, at: record.end, "two operations under one lease")
        }
        for other in self.recent[record.key, default: []] {
            let (first, second) = record.start < other.start ? (record, other) : (other, record)
            if second.start < first.end { self.note(first, then: second) }
            // I2: of two fences of a key, the one under the later lease is greater.
            if let earlier = first.fence, let later = second.fence, first.end <= second.start, earlier >= later {
                // The counter is lost with all else; who remembers no fence is given the first again.
                if self.losses.contains(where: { $0.overlaps(first.start...second.end) }) {
                    self.fencesBegunAnew += 1
                    continue
                }
                self.violations.append(
                    "key \(record.key): fence \(earlier) of \(first.run) before \(later) of \(second.run)"
                )
            }
        }
        self.recent[record.key, default: []].append(record)
    }

    /// I3 and I4: all who get a result under one token get that of the same run.
    mutating func add(_ result: ResultRecord, at time: MonotonicTime) {
        self.check(result.token, result.run, at: time, "two results under one lease")
    }

    /// Forgets what is too old to matter.
    mutating func forget(before now: MonotonicTime) {
        func isOld(_ time: MonotonicTime) -> Bool { time.duration(to: now) > Self.memory }
        self.recent = self.recent.compactMapValues { records in
            let kept = records.filter { !isOld($0.end) }
            return kept.isEmpty ? nil : kept
        }
        self.runs = self.runs.filter { !isOld($0.value.time) }
        self.troubles.removeAll { $0.end.map(isOld) ?? false }
        // Records that are kept may have begun a longest flight before their end.
        self.losses.removeAll { $0.upperBound.duration(to: now) > Self.memory * 2 }
    }

    /// What was done to the system at that time, or a moment before.
    func cause(of moment: MonotonicTime) -> String {
        let cause = self.troubles.last { trouble in
            trouble.start <= moment && (trouble.end.map { $0.duration(to: moment) <= Self.reach } ?? true)
        }
        return cause.map { "after \($0.kind)" } ?? "no trouble before"
    }

    private mutating func check(_ token: String, _ run: String, at time: MonotonicTime, _ what: String) {
        if let known = self.runs[token], known.run != run {
            self.violations.append("\(what), \(token): \(known.run) and \(run)")
        }
        self.runs[token] = (run, time)
    }

    /// Two operations of a key ran at the same time. That may be, for these reasons and no other.
    private mutating func note(_ first: OperationRecord, then second: OperationRecord) {
        let reason: String
        if first.token == nil || second.token == nil {
            reason = "ran without a lease while the store could not be asked"
        } else if !first.isCurrent || !second.isCurrent {
            reason = "went on for a moment after its lease was lost or given up"
        } else if self.survivesLostWrites, first.token != second.token,
            self.troubles.contains(where: { $0.start <= second.end })
        {
            reason = "led under another lease, of which the new primary knew nothing"
        } else if first.token != first.lastToken || second.token != second.lastToken {
            reason = "went on under another lease, as it was told to"
        } else if self.hasLost(first, before: second) {
            reason = "did not know yet that the server had lost its lease"
        } else {
            // I15: both believed in their leases to the end.
            self.violations.append("key \(first.key): \(first.run) led until its end, and \(second.run) began before")
            return
        }
        // What came before the one that had no lease, or began when another had not ended.
        let moment = first.token == nil ? first.start : second.start
        self.overlaps["\(reason); \(self.cause(of: moment))", default: 0] += 1
    }

    /// Whether the server lost the lease of `first`, and could give another to `second`, while `first` could not know.
    /// What was granted just before may be told, and begin, just after.
    private func hasLost(_ first: OperationRecord, before second: OperationRecord) -> Bool {
        self.losses.contains { loss in
            loss.lowerBound <= second.start
                && first.start <= loss.upperBound.advanced(by: SoakSettings.commandTimeout)
                && first.end <= loss.upperBound.advanced(by: Self.lossReach)
        }
    }
}
