/// What the demo needs of a distributed group. This file is the one place where the demo meets the lease layer.
protocol DemoGroup: Sendable {
    /// One flight for `key` in all workers together; every caller gets its outcome.
    func run(
        _ key: String,
        policy: LossPolicy,
        operation: @escaping @Sendable (DemoFlight) async throws -> DemoValue
    ) async -> DemoOutcome
}

/// What an operation knows of the flight it computes for.
struct DemoFlight: Sendable {
    /// Whether this process still leads.
    let isCurrent: @Sendable () -> Bool
}

/// What a caller got.
enum DemoOutcome: Sendable {
    case value(DemoValue)
    /// The operation's error, as its message, which is the same in every process.
    case failure(String)
    case canceled(String)
}

/// Where workers get their group from.
enum DemoGroups {
    /// Calls `body` with a group that is shared by all processes which use the Redis at `url`.
    static func withGroup(
        url: String,
        namespace: String,
        label: String,
        _ body: (any DemoGroup) async throws -> Void
    ) async throws {
        throw CommandFailure("this build cannot reach Redis", status: .unavailable)
    }
}
