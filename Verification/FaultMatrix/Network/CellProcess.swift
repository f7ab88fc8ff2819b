import History
import SingleflightRedis

/// What stands for one process in a cell: a store of its own with two connections, and a group.
struct CellProcess: Sendable {
    let role: ProcessPart
    let store: RedisLeaseStore
    let group: DistributedGroup<String, String>
    /// The store as the group uses it: what is asked of it is part of the history.
    let recorded: RecordingLeaseStore
    private let running: Task<Void, Never>

    init(
        _ role: ProcessPart,
        url: String,
        group name: String,
        rule: MatrixCell.Rule,
        history: LeaseHistory
    ) throws {
        let store = try RedisLeaseStore(
            url: url,
            configuration: .init(
                namespace: "matrix",
                label: role.rawValue,
                commandTimeout: MatrixTimes.commandTimeout
            )
        )
        self.role = role
        self.store = store
        self.recorded = RecordingLeaseStore(store, in: history)
        self.group = try MatrixTimes.group(name, rule: rule, store: self.recorded)
        // Ends by being canceled, which hands leases back as a graceful shutdown does.
        self.running = Task { try? await store.run() }
    }

    /// Shuts the process's store down; false if that takes longer than `limit`.
    func stop(within limit: Duration) async -> Bool {
        self.running.cancel()
        return await within(limit) { await self.running.value } != nil
    }
}

extension MatrixTimes {
    /// The group of every process: an unreachable store is an error, so that nothing runs without a lease.
    static func group(
        _ name: String,
        rule: MatrixCell.Rule,
        store: any LeaseStore
    ) throws -> DistributedGroup<String, String> {
        try DistributedGroup(
            name,
            store: store,
            configuration: DistributedGroupConfiguration(
                lease: .init(duration: self.lease, grace: self.grace, leaderLoss: rule.leaderLoss),
                results: .init(retention: .seconds(5)),
                unavailable: .fail
            )
        )
    }
}

extension RedisLeaseStore {
    /// Waits until both connections are up; a busy machine may need several command timeouts for that.
    func untilReady(within limit: Duration) async throws {
        let deadline = ContinuousClock.now.advanced(by: limit)
        while true {
            do {
                try await self.untilConnected()
                return try await self.untilSubscribed()
            } catch {
                guard ContinuousClock.now < deadline else { throw error }
            }
        }
    }

    /// Waits until a flight's waiters are as wished. Redis does not tell when, so it is asked.
    func untilAwaited(
        group: String,
        key: String,
        where isAsWished: @Sendable ([InboxID]) -> Bool
    ) async throws {
        while !Task.isCancelled {
            if isAsWished(try await self.inspected(group: group, key: key).waiters) { return }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Waits until so many processes are registered as waiters of a flight.
    func untilAwaited(by count: Int, group: String, key: String) async throws {
        try await self.untilAwaited(group: group, key: key) { $0.count >= count }
    }

    /// What is held about a flight.
    func inspected(group: String, key: String) async throws -> LeaseInspection {
        let flight = try FlightKey(group: group, bytes: Array(key.utf8))
        return try await self.answer(to: InspectRequest(key: flight)).get()
    }
}

/// What `body` returns, or `nil` after `limit`; it is canceled then, and not waited for.
@discardableResult
func within<Value: Sendable>(_ limit: Duration, _ body: @escaping @Sendable () async -> Value) async -> Value? {
    let (results, continuation) = AsyncStream.makeStream(of: Value?.self)
    let task = Task { continuation.yield(await body()) }
    let timer = Task {
        try await Task.sleep(for: limit)
        continuation.yield(nil)
    }
    defer {
        timer.cancel()
        task.cancel()
    }
    return await results.first { _ in true } ?? nil
}
