import Synchronization

extension Group {
    /// The operation of a call for many keys: computes the values of those keys that the call leads.
    public typealias ManyOperation = @Sendable @concurrent (LedKeys) async throws -> [Key: Value]

    /// Returns the values of many keys: each of the flight that runs for it, or else of `operation`.
    ///
    /// ```swift
    /// let profiles = await group.values(ids) { led in
    ///     try await database.profiles(led.keys)
    /// }
    /// ```
    ///
    /// The operation is given the keys that nobody else computes, all at once, and returns a value for each; it does
    /// not run if there are none. No key waits for another one: two calls that ask for the same keys in opposite order
    /// both end. Each key has its own flight, as one of ``run(_:cancellation:operation:)``, and is shared with calls of
    /// every other kind.
    ///
    /// - Parameters:
    ///   - keys: what to compute. A key that is named twice is asked for once.
    ///   - cancellation: the policy of the flights that this call starts; `nil` for the group's.
    ///   - operation: as of ``outcomes(of:cancellation:operation:)``.
    /// - Returns: for each key its value, or what ``Outcome/get()`` throws.
    public func values(
        _ keys: some Sequence<Key>,
        cancellation: CancellationPolicy? = nil,
        operation: @escaping ManyOperation
    ) async -> [Key: Result<Value, any Error>] {
        await self.outcomes(of: keys, cancellation: cancellation, operation: operation)
            .mapValues { outcome in Result { try outcome.get() } }
    }

    /// The outcomes of many keys, with what the call was to each.
    ///
    /// - Parameters:
    ///   - keys: what to compute. A key that is named twice is asked for once.
    ///   - cancellation: the policy of the flights that this call starts; `nil` for the group's. Under
    ///     ``CancellationPolicy/whenAbandoned`` a flight ends when its last caller has left, and the operation's task
    ///     is canceled when all its flights have ended.
    ///   - operation: computes the values of the keys that this call leads; run at most once. What it throws is the
    ///     failure of all of them. A key for which it returns nothing fails with the code
    ///     ``GroupError/Code-swift.struct/noResult``; values of other keys are ignored.
    public func outcomes(
        of keys: some Sequence<Key>,
        cancellation: CancellationPolicy? = nil,
        operation: @escaping ManyOperation
    ) async -> [Key: Outcome<Value>] {
        let call = self.call(for: keys, cancellation)
        call.launch(operation)
        var outcomes = call.known
        for (key, outcome) in await call.lead(operation) { outcomes[key] = outcome }
        // All flights are under way: it does not matter which one is waited for first.
        for place in call.places {
            outcomes[place.key] = await self.outcome(at: place)
        }
        return outcomes
    }

    /// The outcomes of many keys as they come, each once.
    ///
    /// The flights begin at once, not when the sequence is read first. A reader that stops, or whose task is canceled,
    /// leaves the flights that have not ended to the others.
    ///
    /// - Parameters: as of ``outcomes(of:cancellation:operation:)``.
    public func eachOutcome(
        of keys: some Sequence<Key>,
        cancellation: CancellationPolicy? = nil,
        operation: @escaping ManyOperation
    ) -> AsyncStream<(key: Key, outcome: Outcome<Value>)> {
        let call = self.call(for: keys, cancellation)
        call.launch(operation)
        return AsyncStream { continuation in
            let task = Task {
                for (key, outcome) in call.known { continuation.yield((key, outcome)) }
                await withTaskGroup(of: Void.self) { waiting in
                    for place in call.places {
                        waiting.addTask { continuation.yield((place.key, await self.outcome(at: place))) }
                    }
                    for (key, outcome) in await call.lead(operation) { continuation.yield((key, outcome)) }
                }
                continuation.finish()
            }
            continuation.onTermination = { termination in
                if case .cancelled = termination { task.cancel() }
            }
        }
    }

    /// Joins or starts a flight for each key.
    private func call(for keys: some Sequence<Key>, _ cancellation: CancellationPolicy?) -> ManyCall<Key, Value> {
        let policy = cancellation ?? self.configuration.cancellation
        let limit = self.configuration.maximumWaitersPerKey
        var (led, seen): ([ManyRun<Key, Value>.Led], Set<Key>) = ([], [])
        var call = ManyCall<Key, Value>(policy: policy)
        for key in keys where seen.insert(key).inserted {
            if Task.isCancelled {
                call.known[key] = .canceled(.callerCanceled)
                continue
            }
            let hash = key.hashValue
            let shard = self.shard(for: hash)
            switch shard.enter(key, hash: hash, leaderSubscribes: policy != .withLeader, limit: limit) {
            case .leads(let flight, let seat):
                led.append(.init(key: key, shard: shard, flight: flight))
                if let seat { call.places.append(.init(key, shard, flight, seat, isLed: true)) }
            case .subscribed(let flight, let seat):
                call.places.append(.init(key, shard, flight, seat, isLed: false))
            case .reentrant:
                call.known[key] = .canceled(self.refusal(.reentrantCall, key))
            case .full:
                call.known[key] = .canceled(self.refusal(.tooManyWaiters, key))
            }
        }
        if !led.isEmpty { call.run = ManyRun(led) }
        return call
    }

    private func outcome(at place: ManyCall<Key, Value>.Place) async -> Outcome<Value> {
        guard !place.isLed, !FlightPath.current.isOutside else {
            return await place.shard.outcome(place.flight, place.seat)
        }
        return await self.waitInside(place.key, place.shard, place.flight, place.seat)
    }
}

/// One call for many keys.
private struct ManyCall<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    struct Place: Sendable {
        let key: Key
        let shard: Shard<Key, Value>
        let flight: FlightID
        let seat: SeatID
        let isLed: Bool

        init(_ key: Key, _ shard: Shard<Key, Value>, _ flight: FlightID, _ seat: SeatID, isLed: Bool) {
            (self.key, self.shard, self.flight, self.seat, self.isLed) = (key, shard, flight, seat, isLed)
        }
    }

    let policy: CancellationPolicy
    /// What is known without waiting: which keys the call was turned away from.
    var known: [Key: Outcome<Value>] = [:]
    /// The flights that are waited for.
    var places: [Place] = []
    /// The run for the keys that the call leads, if there are any.
    var run: ManyRun<Key, Value>?

    /// Begins the run, if it has a task of its own.
    func launch(_ operation: @escaping ManyRun<Key, Value>.Operation) {
        guard self.policy != .withLeader else { return }
        self.run?.launch(endsWhenAbandoned: self.policy == .whenAbandoned, operation)
    }

    /// The outcomes of the run that is the caller's own, if it is.
    func lead(_ operation: @escaping ManyRun<Key, Value>.Operation) async -> [Key: Outcome<Value>] {
        guard self.policy == .withLeader, let run else { return [:] }
        return await run.lead(operation)
    }
}
