import SingleflightRedis

/// What the demo needs of a distributed group. This file is the one place where the demo meets the lease layer.
protocol DemoGroup: Sendable {
    /// One flight for `key` in all workers together; every caller gets its outcome.
    func run(
        _ key: String,
        policy: LossPolicy,
        operation: @escaping @Sendable @concurrent (DemoFlight) async throws -> DemoValue
    ) async -> DemoOutcome

    /// One flight whose leader counts; every caller sees all numbers, to the end.
    func count(
        _ key: String,
        policy: LossPolicy,
        operation: @escaping @Sendable @concurrent (_ tell: @Sendable (Int) async throws -> Void) async throws -> Void,
        watch: (CountEvent) -> Void
    ) async throws
}

/// What a caller sees of a leader that counts.
enum CountEvent: Sendable {
    case number(Int)
    /// Another leader begins anew.
    case restarted
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
        let configuration = RedisLeaseStoreConfiguration(
            namespace: namespace,
            label: label,
            commandTimeout: DemoConfiguration.commandTimeout,
            publishesEvents: true
        )
        try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
            try await body(LeasedDemoGroup(store: store))
        }
    }

    /// Returns when this number of processes waits for the leader of `key`.
    static func untilFollowed(_ key: String, by processes: Int, url: String, namespace: String) async throws {
        let configuration = RedisLeaseStoreConfiguration(namespace: namespace, label: "demo")
        try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
            while try await store.leases(where: { $1 == key }).allSatisfy({ $0.waiterCount < processes }) {
                // No news comes of that: it is looked at again and again.
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }
}

/// The real thing: distributed groups, one for each policy.
private struct LeasedDemoGroup: DemoGroup {
    private let canceling: DistributedGroup<String, DemoValue>
    private let takingOver: DistributedGroup<String, DemoValue>
    private let counting: StreamGroup<String, Int>
    private let countingOn: StreamGroup<String, Int>

    init(store: RedisLeaseStore) throws {
        func configuration(_ leaderLoss: LeaderLossPolicy) -> DistributedGroupConfiguration {
            .init(
                lease: .init(
                    duration: DemoConfiguration.lease,
                    grace: DemoConfiguration.lease * 5,
                    leaderLoss: leaderLoss
                )
            )
        }
        let takeOver = configuration(.takeOver(attempts: 2))
        canceling = try DistributedGroup("pages", store: store, configuration: configuration(.cancel))
        takingOver = try DistributedGroup("pages-taken-over", store: store, configuration: takeOver)
        counting = try StreamGroup("counts", store: store, configuration: configuration(.cancel))
        countingOn = try StreamGroup("counts-taken-over", store: store, configuration: takeOver)
    }

    func count(
        _ key: String,
        policy: LossPolicy,
        operation: @escaping @Sendable @concurrent (_ tell: @Sendable (Int) async throws -> Void) async throws -> Void,
        watch: (CountEvent) -> Void
    ) async throws {
        let group =
            switch policy {
            case .cancel: counting
            case .takeOver: countingOn
            }
        let stream = group.stream(key) { writer in try await operation { try await writer.write($0) } }
        for try await event in stream.events {
            switch event {
            case .part(let number): watch(.number(number))
            case .restarted: watch(.restarted)
            }
        }
    }

    func run(
        _ key: String,
        policy: LossPolicy,
        operation: @escaping @Sendable @concurrent (DemoFlight) async throws -> DemoValue
    ) async -> DemoOutcome {
        let group =
            switch policy {
            case .cancel: canceling
            case .takeOver: takingOver
            }
        let outcome = await group.run(key) { flight in
            try await operation(DemoFlight(isCurrent: { flight.isCurrent }))
        }
        switch outcome {
        case .complete(let completion):
            switch completion.result {
            case .success(let value): return .value(value)
            case .failure(let failure as RemoteFailure): return .failure(failure.message)
            case .failure(let error): return .failure(String(describing: error))
            }
        case .canceled(let reason):
            return .canceled(reason.description)
        }
    }
}
