/// What an operation comes to that failed by a rule of its group, and not by an error of its own.
protocol GroupFailure: Error {
    /// What callers are told, in the leader's process and in all others.
    var told: DistributedGroupError { get }
}
