import SingleflightCLI

/// A worker process of the suite, as the suite sees it.
typealias BenchWorkers = BenchWorkerHandle<BenchOrder, BenchAnswer>

/// What a benchmark's worker is told to do, one line each. It does one after the other; ``herd(round:callers:keys:)``,
/// ``lead(key:payload:)``, ``follow(key:)``, ``writeStream(key:parts:bytes:)``, ``readStream(key:readers:)`` and
/// ``hear(channel:)`` go on beside what comes after them.
enum BenchOrder: Codable, Sendable {
    /// Uncontended flights of an empty operation: a number of callers at once, each after each with a key of its own.
    case flights(callers: Int, seconds: Double, payload: Int)
    /// All callers at once; their operations run until they are told to finish.
    case herd(round: Int, callers: Int, keys: Int)
    /// Leads this number of flights at once, and says what they take of the heap.
    case open(flights: Int)
    /// Leads `key` until it is told to finish.
    case lead(key: String, payload: Int)
    /// Ends the operations of ``herd(round:callers:keys:)`` or ``lead(key:payload:)``.
    case finish
    /// Waits for the result of `key`; runs the operation only if it takes over.
    case follow(key: String)
    /// Leads a stream; when it is told to finish it writes this number of parts.
    case writeStream(key: String, parts: Int, bytes: Int)
    /// Reads the stream to its end, this number of times at once.
    case readStream(key: String, readers: Int)
    /// Subscribes to a channel, and waits for one message.
    case hear(channel: String)
    /// Publishes one message that says when.
    case tell(channel: String)
    /// Says how the last ``herd(round:callers:keys:)``, ``lead(key:payload:)`` or ``follow(key:)`` went, once it has
    /// ended. It is not said by itself: a process that speaks takes the time of others that are to be measured.
    case report
}

/// What a worker answers.
enum BenchAnswer: Codable, Sendable {
    case flights(FlightCount)
    /// All callers of the herd have begun to ask.
    case asked
    case herd(runs: [String], failures: Int)
    /// Bytes for each; `nil` where nothing counts them.
    case opened(bytes: Double?)
    case leading
    case led
    /// When the leader handed its result over, and when this process's caller had it.
    case followed(handedOver: MonotonicTime, arrived: MonotonicTime)
    /// The follower's own operation was run.
    case tookOver(MonotonicTime)
    case streamed(StreamFigures)
    case subscribed
    case told
}

/// How a stream was read, or written.
struct StreamFigures: Codable, Sendable {
    /// When the first part was handed over, and when it arrived.
    var handedOver = MonotonicTime.now
    var arrived = MonotonicTime.now
    var bytes = 0
    /// From the first part to the end.
    var seconds = 0.0
    /// By how much more the process had in memory at most than before, in bytes; `nil` where that is not told.
    var growth: Int?
}

struct FlightCount: Codable, Sendable {
    var flights = 0
    var failures = 0
    var seconds = 0.0
    var cpuNanoseconds: Int64 = 0
    var latency = LatencyHistogram()
    /// Of the whole process; `nil` where nothing counts them.
    var allocations: Int?

    var perSecond: Double { seconds > 0 ? Double(flights) / seconds : 0 }
}
