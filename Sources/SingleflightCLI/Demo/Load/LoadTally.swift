import SingleflightRedis

/// What the callers of one process got so far.
struct LoadTally: Equatable, Sendable {
    private(set) var calls = 0
    private(set) var led = 0
    /// Waited for a leader in the same process.
    private(set) var subscribed = 0
    /// Waited for a leader in another process.
    private(set) var followed = 0
    private(set) var failed = 0
    private(set) var canceled = 0

    /// What happened to leaders since the last ``takeEvents()``, and to how many callers it mattered.
    private var events: [String: Int] = [:]

    mutating func add(_ outcome: Outcome<Int>, of key: String) {
        calls += 1
        switch outcome {
        case .canceled(let reason):
            canceled += 1
            events["\(key) was canceled: \(reason)", default: 0] += 1
        case .complete(let completion):
            if completion.attempts > 1 { events["\(key) was taken over", default: 0] += 1 }
            guard case .success = completion.result else {
                failed += 1
                return
            }
            switch completion.role {
            case .leader: led += 1
            case .subscriber: subscribed += 1
            case .follower, .reused: followed += 1
            }
        }
    }

    /// A line for each event, which is told once.
    mutating func takeEvents() -> [String] {
        defer { events = [:] }
        return events.map { "\($0) (\($1) callers)" }.sorted()
    }

    /// One line; `hits` is what the origin counted of all processes, nil if it did not answer.
    func line(hits: Int?) -> String {
        "calls \(calls)  led \(led)  subscribed \(subscribed)  followed \(followed)  canceled \(canceled)  failed \(failed)"
            + "  |  origin hits of all: \(hits.map(String.init) ?? "unknown")"
    }
}
