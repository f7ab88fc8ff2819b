import SingleflightCLI

/// What all processes of a soak agree on.
struct SoakSettings: Codable, Equatable {
    var workers = 8
    /// Callers in each worker.
    var callers = 12
    var keys = 2000
    /// The troubles that are drawn from.
    var troubles = Chaos.allCases
    /// How long the server stays away, in seconds, when it is away for long.
    var outage = 60

    /// Fifty times shorter than the default: what takes ten seconds in production takes a fifth of one here.
    static let lease = Duration.milliseconds(200)
    static let grace = Duration.milliseconds(400)
    static let retention = Duration.milliseconds(400)
    static let commandTimeout = Duration.milliseconds(60)
    static let maximumFlight = Duration.seconds(2)
    /// For how long a big value may be on its way.
    static let payloadTimeout = Duration.seconds(3)
    /// How many operations return a big value when they are asked of a worker.
    static let bigValues = 3
    /// How old the oldest call may become: what the parts allow is 10 s, the rest is for a machine that is busy.
    static let longestCall = Duration.seconds(15)
    static let namespace = "soak"
}

/// What a worker says, a line each.
enum WorkerReport: Codable {
    case ready
    /// What happened in the last fraction of a second.
    case period(WorkerPeriod)
    /// No call is under way any more, and none will be made; for this number of keys flights still listen, and this
    /// became of the last leases, by their tokens.
    case drained(listening: Int, leases: [String: LeaseAccount])
}

/// What a worker asked about a lease, and was answered.
struct LeaseAccount: Codable, Equatable {
    /// Whether the server may hold it because a request had no answer.
    var isInDoubt: Bool
    /// For messages.
    var trail: String
}

/// What a worker is told, a line each. The end of its input means: shut down.
enum WorkerOrder: String, Codable {
    /// Make no more calls.
    case drain
    /// Shut the store down, and go on with calls for a moment.
    case shutDown
    /// Make no more calls, and shut the store down while the last are under way.
    case stop
    /// The next few operations are to return big values.
    case bigValues
}

struct WorkerPeriod: Codable {
    var operations: [OperationRecord] = []
    var results: [ResultRecord] = []
    /// How calls ended, and how often.
    var ends: [String: Int] = [:]
    /// Results that are not what was asked for.
    var wrong: [String] = []
    /// When the oldest call that is under way was made.
    var oldestCall: MonotonicTime?

    var isEmpty: Bool { self.operations.isEmpty && self.ends.isEmpty && self.wrong.isEmpty && self.oldestCall == nil }
}

/// One run of an operation, written down when it is over.
struct OperationRecord: Codable, Equatable {
    var key: Int
    /// Names this run.
    var run: String
    /// The lease under which it ran; nil where the store could not be asked.
    var token: String?
    /// The lease under which it ended: another one where the first was lost, and it went on.
    var lastToken: String?
    var start: MonotonicTime
    var end: MonotonicTime
    /// Whether its process still led at the end.
    var isCurrent: Bool
    var fence: UInt64?
}

/// Which run a coordinated result came from, as one caller got it.
struct ResultRecord: Codable, Hashable {
    var token: String
    var run: String
}

/// What a soak's operations return and throw: enough to tell whose it is.
struct SoakValue: Codable, Equatable {
    var key: Int
    var run: String
    var token: String?
    /// Whether the operation goes on if its lease is lost, and `token` may be the first of several.
    var leadsAgain: Bool
    /// Makes some results too long for an announcement.
    var filler: String
}

struct SoakFailure: Error, Codable, Equatable {
    var key: Int
    var run: String
    var token: String?
    var leadsAgain: Bool
}
