/// What the demo runs with.
struct DemoConfiguration: Sendable {
    var workers = 4
    var callers = 250
    var keys = 20
    var rounds = 3
    /// The user's own Redis; nil for a private one.
    var redis: String?
    /// Within which every scene has ended, in one way or another.
    var sceneLimit: Duration = .seconds(15)

    /// The workers' leases; the scenes about lost leaders take a little more than this.
    static let lease: Duration = .seconds(1)
    /// Within which Redis answers: a lease is at least three of these.
    static let commandTimeout: Duration = .milliseconds(330)
    /// By how much followers may learn later than the end of the lease that it has ended.
    static let lossMargin: Duration = .milliseconds(500)
    /// How long the origin takes for an answer.
    static let originLatency: Duration = .milliseconds(50)
}
