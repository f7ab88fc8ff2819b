/// One thing the demo shows.
protocol DemoScene {
    var title: String { get }

    /// Why it cannot be shown with this configuration; nil if it can.
    func obstacle(_ configuration: DemoConfiguration) -> String?

    /// Plays the scene and says what should have been seen, and what was.
    ///
    /// - Throws: ``SceneStopped`` when something did not happen in time.
    func play(on stage: DemoStage) async throws -> [Check]
}

extension DemoScene {
    func obstacle(_ configuration: DemoConfiguration) -> String? { nil }

    /// A scene about the leader of one key needs another process that follows it.
    func needsFollowers(_ configuration: DemoConfiguration) -> String? {
        configuration.workers >= 2 ? nil : "it needs at least 2 workers"
    }
}

extension DemoStage {
    /// Callers of each worker in the scenes about a single key: enough to see that all of them are told.
    var followersPerWorker: Int { min(configuration.callers, 25) }

    var callsOnOneKey: Int { followersPerWorker * configuration.workers }

    /// Starts a flight of `key` that the origin keeps waiting; answers its batch and the worker that leads.
    ///
    /// - Parameter workers: those whose callers take part; nil stands for all.
    func holdFlight(
        of key: String,
        in workers: Set<Int>? = nil,
        policy: LossPolicy = .cancel
    ) async throws -> (batch: Int, leader: Int) {
        try await origin.hold(key)
        let batch = call([key], callers: followersPerWorker, in: workers, policy: policy)
        let ledger = try await wait(for: batch, "a leader of \(key) and its followers") { $0.isInFlight(keys: 1) }
        guard let leader = ledger.leaders.first?.worker else { throw SceneStopped(description: "nobody leads \(key)") }
        // A leader says that it begins before it asks: what happens to it next is to find it in the middle of its work.
        try await origin.waitUntilHeld(key)
        return (batch, leader)
    }

    func hits(on key: String) async throws -> Int {
        try await origin.hits(under: key).values.reduce(0, +)
    }

    /// Whether what happened to `key` is over and done with: a new flight gives everybody a new value.
    func checkNextFlight(of key: String) async throws -> [Check] {
        let before = try await hits(on: key)
        let (batch, _) = try await holdFlight(of: key)
        try await origin.release(key)
        let ledger = try await wait(for: batch, "the next flight of \(key)") { $0.isDone() }
        let values = ledger.total().values[before + 1] ?? 0
        return [
            Check("next flight: origin hits", expected: 1, seen: try await hits(on: key) - before),
            Check("next flight: callers with its value", expected: callsOnOneKey, seen: values),
        ]
    }
}
