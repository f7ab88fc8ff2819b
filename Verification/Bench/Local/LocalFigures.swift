/// What the local group costs, and its contenders in the same run. Times are medians, in nanoseconds.
struct LocalFigures: Codable, Sendable {
    var bareDictionary = 0.0
    var naiveActor = 0.0
    /// An uncontended call whose operation runs in the caller's task.
    var withLeader = 0.0
    /// The same from two tasks at once, per call.
    var withLeaderByTwo = 0.0
    /// The same, while 100 000 other flights are open.
    var withLeaderAmongOthers = 0.0
    /// An uncontended call under the default policy.
    var defaultPolicy = 0.0
    /// Heap allocations of a call; `nil` without the library that counts them.
    var withLeaderAllocations: Double?
    var defaultPolicyAllocations: Double?
    /// Per caller, by how many join one flight: joining and release, beyond spawning the callers.
    var crowd: [Crowd] = []
    /// Heap per waiting caller, its task included, and of a task that waits without a group; `nil` as above.
    var bytesPerCaller: Double?
    var bytesPerTask: Double?
    /// Heap of a flight that is led by hand and that nobody waits for, its key included.
    var bytesPerOpenFlight: Double?

    struct Crowd: Codable, Sendable {
        let callers: Int
        let nanoseconds: Double
        let spawning: Double
    }
}
