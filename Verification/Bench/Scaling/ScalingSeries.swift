/// What became of some measures as one quantity grew. Its plot is docs/plots/<id>.svg.
struct ScalingSeries: Codable, Sendable {
    enum ID: String, Codable, Sendable {
        case nanosecondsPerCaller = "callers"
        case nanosecondsPerFlight = "open-flights"
        case flightsPerSecondByKeys = "keys"
        case flightsPerSecondByProcesses = "processes"
        case flightsPerSecondByPayload = "payload"
        case redisCPU = "redis-cpu"
        case wakeUp = "wake-up"
        case blocked = "blocked"

        var unit: String {
            switch self {
            case .nanosecondsPerCaller: "ns per caller"
            case .nanosecondsPerFlight: "ns per call"
            case .flightsPerSecondByKeys, .flightsPerSecondByProcesses, .flightsPerSecondByPayload: "flights per second"
            case .redisCPU: "us of Redis CPU per flight"
            case .wakeUp: "us from hand-over to the caller"
            case .blocked: "ms the server is blocked"
            }
        }
    }

    struct Point: Codable, Sendable {
        let x: Double
        let values: [String: Double]
    }

    let id: ID
    /// What grows.
    let x: String
    let unit: String
    private(set) var points: [Point] = []

    init(_ id: ID, x: String) {
        self.id = id
        self.x = x
        unit = id.unit
    }

    mutating func append(_ x: Double, _ values: [String: Double]) {
        points.append(Point(x: x, values: values))
    }
}

/// Everything that a run of ``ScalingSuite`` found.
struct ScalingReport: Codable, Sendable {
    let machine: BenchReport.Machine
    let series: [ScalingSeries]
}
