import SingleflightRedis

/// What events tell of the pace, and what was measured of the way of an announcement, as a value: time comes in.
struct FlightActivity: Sendable {
    private struct Second {
        var number: Int64
        var flights: Int
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
            let second = now.components.seconds
            if recent.last?.number == second {
                recent[recent.count - 1].flights += 1
            } else {
                recent.append(Second(number: second, flights: 1))
                recent.removeAll { $0.number <= second - Self.window }
            }
        case .joined: joined += 1
        case .takenOver, .renewed, .left, .completed, .failed, .canceled, .released: break
        }
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

    /// Flights that began, per second, over the last ten or since the first event.
    func flightsPerSecond(at now: Duration) -> Double {
        guard let start else { return 0 }
        let second = now.components.seconds
        let count = recent.filter { $0.number > second - Self.window }.reduce(0) { $0 + $1.flights }
        let seconds = min(max(now - start, .seconds(1)), .seconds(Self.window))
        return Double(count) / (Double(seconds.wholeMilliseconds) / 1_000)
    }

    /// The share of processes that asked and did not have to compute; `nil` before anybody asked.
    var coalescedShare: Double? {
        flights + joined == 0 ? nil : Double(joined) / Double(flights + joined)
    }
}
