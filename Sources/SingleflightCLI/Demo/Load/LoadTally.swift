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

    mutating func add(_ outcome: DistributedOutcome<Int>) {
        calls += 1
        switch outcome {
        case .canceled: canceled += 1
        case .complete(let completion):
            guard case .success = completion.result else {
                failed += 1
                return
            }
            switch completion.role {
            case .leader: led += 1
            case .subscriber: subscribed += 1
            case .follower: followed += 1
            }
        }
    }

    /// One line; `hits` is what the origin counted of all processes, nil if it did not answer.
    func line(hits: Int?) -> String {
        "calls \(calls)  led \(led)  subscribed \(subscribed)  followed \(followed)  canceled \(canceled)  failed \(failed)"
            + "  |  origin hits of all: \(hits.map(String.init) ?? "unknown")"
    }
}
