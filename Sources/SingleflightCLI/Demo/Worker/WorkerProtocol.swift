/// What the parent asks of a worker: that many callers at once, spread over the keys.
struct CallBatch: Codable, Sendable {
    let id: Int
    let keys: [String]
    let callers: Int
    let policy: LossPolicy
    /// Whether the callers watch a leader count, instead of waiting for a value.
    let counts: Bool
    /// When all workers start, on the clock they share.
    let start: MonotonicTime
}

/// What becomes of the followers of a leader that is gone.
enum LossPolicy: String, Codable, CaseIterable, Sendable {
    case cancel
    case takeOver
}

/// What a worker tells the parent.
enum WorkerEvent: Codable, Sendable {
    /// Connected, waiting for work.
    case ready
    /// Every caller of the batch has made its call.
    case calling(batch: Int)
    /// This worker leads `key`: its operation has begun.
    case leading(batch: Int, key: String)
    /// The operation is over; what it knew of its lease at that moment.
    case led(batch: Int, key: String, isCurrent: Bool)
    /// A caller has seen the leader count to the half.
    case halfway(batch: Int)
    /// Every caller has its outcome.
    case done(BatchReport)
}

/// What the callers of one worker got.
struct BatchReport: Codable, Equatable, Sendable {
    let batch: Int
    /// Callers that got a value which is the one they asked for, by the origin's hit that it came from.
    var values: [Int: Int] = [:]
    /// Callers that got a value of another key.
    var wrong = 0
    /// Callers that got an error, by its message.
    var failures: [String: Int] = [:]
    /// Callers whose flight was canceled, by the reason.
    var canceled: [String: Int] = [:]
    /// From the leader having its result to a caller in another process having it, in nanoseconds.
    var wakeUps: [Int64] = []
    /// How often callers were told that another leader begins anew.
    var restarts = 0
    /// When the last caller had its outcome.
    var end: MonotonicTime

    var calls: Int { count(values) + wrong + count(failures) + count(canceled) }

    private func count(_ tally: [some Hashable: Int]) -> Int { tally.values.reduce(0, +) }
}

/// What the operation makes of the origin's answer, and every caller gets.
struct DemoValue: Codable, Equatable, Sendable {
    let key: String
    /// The origin's count of hits on the key: which answer this is.
    let hit: Int
    /// The process that computed it.
    let process: Int32
    /// When it was ready there.
    let ready: MonotonicTime
}
