import SingleflightRedis

/// What events tell of the pace, and what was measured of the way of an announcement, as a value: time comes in.
struct FlightActivity: Sendable {
    /// What is counted by the second.
    enum Kind: Int, CaseIterable, Sendable {
        case flights, failed, canceled, expired, takenOver

        /// How people call what went wrong; a flight that begins is no trouble.
        var trouble: String? {
            switch self {
            case .flights: nil
            case .failed: "failed"
            case .canceled: "canceled"
            case .expired: "expired"
            case .takenOver: "taken over"
            }
        }
    }

    private struct Second {
        var number: Int64
        var counts = Array(repeating: 0, count: Kind.allCases.count)
    }

    /// Over how many seconds the pace is taken.
    private static let window: Int64 = 10

    /// Over how many measurements percentiles are taken.
    private static let memory = 100

    private var recent: [Second] = []
    /// The last ones, in the order in which they were measured.
    private var wakeUps: [Duration] = []
    /// The last announcement was not heard.
    private(set) var isDeaf = false
    private var start: Duration?
    /// Since the beginning: flights that began, and processes that joined one instead of starting another.
    private(set) var flights = 0
    private(set) var joined = 0

    mutating func record(_ change: LeaseEvent.Change, at now: Duration) {
        if start == nil { start = now }
        switch change {
        case .acquired:
            flights += 1
            count(.flights, at: now)
        case .joined: joined += 1
        case .takenOver: count(.takenOver, at: now)
        case .failed: count(.failed, at: now)
        case .canceled(.leaseExpired), .canceled(.supersededTooOften): count(.expired, at: now)
        case .canceled: count(.canceled, at: now)
        case .renewed, .left, .completed, .released: break
        }
    }

    private mutating func count(_ kind: Kind, at now: Duration) {
        let number = now.components.seconds
        if recent.last?.number != number {
            recent.append(Second(number: number))
            recent.removeAll { $0.number <= number - Self.window }
        }
        recent[recent.count - 1].counts[kind.rawValue] += 1
    }

    /// An announcement was heard after so long, or not at all.
    mutating func measured(_ latency: Duration?) {
        isDeaf = latency == nil
        guard let latency else { return }
        wakeUps.append(latency)
        wakeUps.removeFirst(max(0, wakeUps.count - Self.memory))
    }

    /// The value below which `share` percent of the last wake-ups lie; `nil` before the first.
    func wakeUp(percentile share: Int) -> Duration? {
        DoctorRules.percentile(share, of: wakeUps.sorted())
    }

    /// Whether there was any event at all.
    var isKnown: Bool { start != nil }

    /// How often it happened per second, over the last ten or since the first event.
    func perSecond(_ kind: Kind, at now: Duration) -> Double {
        guard let start else { return 0 }
        let second = now.components.seconds
        let count = recent.filter { $0.number > second - Self.window }.reduce(0) { $0 + $1.counts[kind.rawValue] }
        let seconds = min(max(now - start, .seconds(1)), .seconds(Self.window))
        return Double(count) / (Double(seconds.wholeMilliseconds) / 1_000)
    }

    /// The share of processes that asked and did not have to compute; `nil` before anybody asked.
    var coalescedShare: Double? {
        flights + joined == 0 ? nil : Double(joined) / Double(flights + joined)
    }
}
