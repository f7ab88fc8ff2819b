public import Synchronization

/// Coalesces concurrent calls: for each key one caller does the work, and all who ask meanwhile get its result.
///
/// ```swift
/// let group = Group<String, Profile>()
/// let profile = try await group.value("user:42") { try await database.profile(42) }
/// ```
///
/// Calls for different keys never wait for one another. Nothing is remembered once a flight has ended, neither a value
/// nor an error: the next caller starts afresh. Starting and ending a flight costs O(1) in the number of other flights.
///
/// Safe to use from any thread. No operation, handler or waiting caller runs under a lock; only the key's `==` does.
public final class Group<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    /// How the group treats its callers.
    public let configuration: GroupConfiguration

    /// A power of two of them, chosen by the lowest bits of the key's hash.
    @usableFromInline let shards: [Shard<Key, Value>]

    /// Makes a group with no flights.
    public convenience init(_ configuration: GroupConfiguration = .init()) {
        self.init(configuration, shardCount: 32)
    }

    /// - Parameter shardCount: a power of two.
    init(_ configuration: GroupConfiguration, shardCount: Int) {
        precondition(shardCount > 0 && shardCount & (shardCount - 1) == 0, "\(shardCount) is no power of two")
        self.configuration = configuration
        self.shards = (0..<shardCount).map { _ in Shard() }
    }

    // MARK: Calls

    /// Returns the value for `key`: of the running flight, or else of `operation`.
    ///
    /// Like ``run(_:cancellation:operation:)``, but throws where that has no value to give.
    ///
    /// - Throws: as ``Outcome/get()``. Every caller gets the operation's own error.
    @inline(__always)
    @inlinable
    nonisolated(nonsending) public func value(
        _ key: Key,
        cancellation: CancellationPolicy? = nil,
        operation: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        // Inlined, as a frame of its own would be held by each caller that waits: see Shard.outcome.
        try await self.run(key, cancellation: cancellation, operation: operation).get()
    }

    /// Joins the running flight for `key`, or else starts one with `operation`, and waits for its outcome.
    ///
    /// The operation runs in a task of its own that inherits the priority and the task-local values of the caller that
    /// leads (see ``CancellationPolicy/withLeader`` for the exception); where the system allows it the task starts on
    /// the caller's thread, unless an actor runs there, and stays there until its first suspension. A waiting task of higher
    /// priority raises the operation's.
    ///
    /// A caller whose task is canceled leaves at once, while the flight goes on for the others; what happens after the
    /// last has left is up to the flight's ``CancellationPolicy``. A caller that comes later starts a fresh flight. A
    /// caller that is canceled before it calls neither starts nor joins a flight.
    ///
    /// An operation that asks its own group for its own key, also through its child tasks, is refused at once. Cycles
    /// through the operations of other callers are not detected.
    ///
    /// - Parameters:
    ///   - key: what is being computed.
    ///   - cancellation: the policy of the flight, if this call starts it; `nil` for the group's.
    ///   - operation: the work; run at most once.
    @inlinable
    nonisolated(nonsending) public func run(
        _ key: Key,
        cancellation: CancellationPolicy? = nil,
        operation: @escaping @Sendable () async throws -> Value
    ) async -> Outcome<Value> {
        if Task.isCancelled { return .canceled(.callerCanceled) }
        let policy = cancellation ?? self.configuration.cancellation
        let hash = key.hashValue
        let shard = self.shard(for: hash)
        let limit = self.configuration.maximumWaitersPerKey
        switch shard.enter(key, hash: hash, leaderSubscribes: policy != .withLeader, limit: limit) {
        case .leads(let flight, nil):
            return await shard.lead(flight, operation)
        case .leads(let flight, let seat?):
            let endsWhenAbandoned = policy == .whenAbandoned
            return await shard.launch(flight, seat, endsWhenAbandoned: endsWhenAbandoned, operation)
        case .subscribed(let flight, let seat):
            return await shard.outcome(flight, seat)
        case .reentrant:
            return .canceled(self.refusal(.reentrantCall, key))
        case .full:
            return .canceled(self.refusal(.tooManyWaiters, key))
        }
    }

    /// Waits for the outcome of the running flight for `key`; ``Cancellation/noFlight`` if there is none. Never leads.
    ///
    /// It counts among the flight's subscribers, and a call from inside of the flight is refused, as of
    /// ``run(_:cancellation:operation:)``.
    @inlinable
    nonisolated(nonsending) public func follow(_ key: Key) async -> Outcome<Value> {
        if Task.isCancelled { return .canceled(.callerCanceled) }
        let hash = key.hashValue
        let shard = self.shard(for: hash)
        switch shard.join(key, hash: hash, limit: self.configuration.maximumWaitersPerKey) {
        case .subscribed(let flight, let seat):
            return await shard.outcome(flight, seat)
        case .reentrant:
            return .canceled(self.refusal(.reentrantCall, key))
        case .full:
            return .canceled(self.refusal(.tooManyWaiters, key))
        case .leads, nil:
            return .canceled(.noFlight)
        }
    }

    /// Not inlined, as all that a call seldom does: what it needs would lie in the frame of each caller that waits.
    @inline(never)
    @inlinable
    func refusal(_ code: GroupError.Code, _ key: Key) -> Cancellation {
        let limit = code == .tooManyWaiters ? self.configuration.maximumWaitersPerKey : nil
        return .refused(GroupError(code, key: key, limit: limit))
    }

    /// Joins the running flight for `key`, or else starts one that the caller brings to its end by hand.
    ///
    /// A caller that the group refuses gets a subscriber whose outcome says so, at once. No task is made.
    @inlinable
    public func entry(_ key: Key) -> Entry<Key, Value> {
        let hash = key.hashValue
        let shard = self.shard(for: hash)
        let limit = self.configuration.maximumWaitersPerKey
        switch shard.enter(key, hash: hash, leaderSubscribes: false, limit: limit) {
        case .leads(let flight, _):
            return .leader(Leader(key: key, shard: shard, flight: flight))
        case .subscribed(let flight, let seat):
            return .subscriber(Subscriber(key: key, shard: shard, flight: flight, seat: seat))
        case .reentrant:
            return .subscriber(Subscriber(refused: GroupError(.reentrantCall, key: key), key: key, shard: shard))
        case .full:
            let error = GroupError(.tooManyWaiters, key: key, limit: limit)
            return .subscriber(Subscriber(refused: error, key: key, shard: shard))
        }
    }

    // MARK: Flights

    /// Makes the next caller for `key` start a fresh flight, even while one runs. Returns whether one did.
    ///
    /// The forgotten flight goes on to its end for those who wait for it, and does not touch its successor.
    @inlinable
    @discardableResult
    public func forget(_ key: Key) -> Bool {
        let hash = key.hashValue
        return self.shard(for: hash).table.withLock { $0.forget(key, hash: hash) }
    }

    /// How many keys have a flight that callers can join. Forgotten flights don't count.
    ///
    /// Exact when no call starts or ends meanwhile; the shards are counted one after the other.
    public var inFlight: Int {
        self.shards.reduce(0) { count, shard in count + shard.table.withLock { $0.openCount } }
    }

    /// The keys that have a flight which callers can join, in no order.
    ///
    /// Exact when no call starts or ends meanwhile. Linear in the number of flights.
    public var keysInFlight: [Key] {
        self.shards.flatMap { shard in shard.table.withLock { $0.openKeys } }
    }

    @inlinable
    func shard(for hash: Int) -> Shard<Key, Value> {
        self.shards[hash & (self.shards.count - 1)]
    }
}

/// What ``Group/entry(_:)`` makes of a caller.
public enum Entry<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    /// The caller leads: it must see to it that the leader is completed.
    case leader(Leader<Key, Value>)

    /// The caller waits for a flight that runs already, or was refused.
    case subscriber(Subscriber<Key, Value>)
}
