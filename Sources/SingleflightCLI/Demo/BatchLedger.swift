/// What the workers have told about one batch so far.
struct BatchLedger: Sendable {
    /// The workers that make the batch's calls.
    let workers: Set<Int>
    let start: MonotonicTime
    private(set) var calling: Set<Int> = []
    /// The workers that began an operation, in the order in which we heard of it.
    private(set) var leaders: [(key: String, worker: Int)] = []
    /// The workers that finished one, and whether they led still.
    private(set) var led: [(key: String, worker: Int, isCurrent: Bool)] = []
    /// How often callers of each worker have seen the leader count to the half.
    private(set) var halfway: [Int: Int] = [:]
    private(set) var reports: [Int: BatchReport] = [:]

    init(workers: Set<Int>, start: MonotonicTime) {
        self.workers = workers
        self.start = start
    }

    mutating func add(_ event: WorkerEvent, from worker: Int) {
        switch event {
        case .ready: break
        case .calling: calling.insert(worker)
        case .leading(_, let key): leaders.append((key, worker))
        case .led(_, let key, let isCurrent): led.append((key, worker, isCurrent))
        case .halfway: halfway[worker, default: 0] += 1
        case .done(let report): reports[worker] = report
        }
    }

    /// Whether the callers of these workers have seen the leader count to the half, so often each.
    func isHalfway(_ times: Int, _ chosen: Set<Int>) -> Bool { chosen.allSatisfy { halfway[$0] ?? 0 >= times } }

    /// Every caller waits, and `keys` operations have begun.
    func isInFlight(keys: Int) -> Bool { calling == workers && Set(leaders.map(\.key)).count == keys }

    /// Every caller of every worker but `except` has its outcome.
    func isDone(except: Set<Int> = []) -> Bool { workers.subtracting(except).isSubset(of: reports.keys) }

    /// What all callers got together, those of `workers` only if given.
    func total(of workers: Set<Int>? = nil) -> BatchReport {
        var total = BatchReport(batch: 0, end: start)
        for (worker, report) in reports where workers?.contains(worker) ?? true { total.add(report) }
        return total
    }
}

extension BatchReport {
    mutating func add(_ other: BatchReport) {
        values.merge(other.values, uniquingKeysWith: +)
        wrong += other.wrong
        failures.merge(other.failures, uniquingKeysWith: +)
        canceled.merge(other.canceled, uniquingKeysWith: +)
        wakeUps += other.wakeUps
        restarts += other.restarts
        end = max(end, other.end)
    }

    var valueCount: Int { values.values.reduce(0, +) }
    var failureCount: Int { failures.values.reduce(0, +) }
    var canceledCount: Int { canceled.values.reduce(0, +) }
}
