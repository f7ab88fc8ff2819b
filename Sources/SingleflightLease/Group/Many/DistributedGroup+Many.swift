public import Singleflight

extension DistributedGroup {
    /// The operation of a call for many keys: computes the values of those keys that the call leads.
    public typealias ManyOperation = @Sendable @concurrent (LedKeys) async throws -> [Key: Value]

    /// The values of many keys: each from this call's operation, or from the one that runs for it already, here or in
    /// another process.
    ///
    /// ```swift
    /// let profiles = await group.values(ids) { led in
    ///     try await database.profiles(led.keys)
    /// }
    /// ```
    ///
    /// The operation is given the keys that this call leads, all at once, and returns a value for each; for the others
    /// their own leaders' results are waited for. No key waits for another one: two calls that ask for the same keys in
    /// opposite order both end. The requests of all keys go out together, so a call costs the round trips of a single
    /// key.
    ///
    /// Each key has its own flight, as one of ``value(_:waitingAtMost:unavailable:operation:)``, and is shared with
    /// calls of every other kind. A failure, a canceled flight or a waiting limit concerns its key only.
    ///
    /// - Parameters:
    ///   - keys: what to compute. A key that is named twice is asked for once; without keys there is nothing to do.
    ///   - limit: how long this caller waits for each key at most.
    ///   - unavailable: what this caller gets for keys of which the store cannot be asked; `nil` for the group's
    ///     policy.
    ///   - operation: as of ``outcomes(of:waitingAtMost:unavailable:operation:)``.
    /// - Returns: for each key its value, or what `Outcome.get()` throws.
    public func values(
        _ keys: some Sequence<Key>,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        operation: @escaping ManyOperation
    ) async -> [Key: Result<Value, any Error>] {
        await self.outcomes(of: keys, waitingAtMost: limit, unavailable: unavailable, operation: operation)
            .mapValues { outcome in Result { try outcome.get() } }
    }

    /// The outcomes of many keys, with everything that is known of how each came about.
    ///
    /// - Parameters:
    ///   - keys: what to compute. A key that is named twice is asked for once; without keys there is nothing to do.
    ///   - limit: how long this caller waits for each key at most.
    ///   - unavailable: what this caller gets for keys of which the store cannot be asked; `nil` for the group's
    ///     policy.
    ///   - operation: computes the values of the keys that this call leads, in a task that inherits this caller's
    ///     task-locals and priority.
    ///
    ///     It begins when it is known of every key whether this call leads it; a key of which the store has not said so
    ///     within a quarter of the command timeout is not waited for. What the call comes to lead later, because
    ///     leaders were lost or the store cannot be asked, is gathered for 10 ms, and given to a further run. So the
    ///     operation may run more than once, also at the same time, each time for other keys; it never runs for none.
    ///
    ///     What it throws is the failure of all its keys. A key for which it returns nothing fails with the code
    ///     ``DistributedGroupError/Code/noResult``; values of other keys are ignored. Its task is canceled when no
    ///     result is wanted any more; what becomes of a single key tells ``Flight/isCurrent``.
    public func outcomes(
        of keys: some Sequence<Key>,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        operation: @escaping ManyOperation
    ) async -> [Key: Outcome<Value>] {
        let asked = AskedKeys(keys)
        var outcomes: [Key: Outcome<Value>] = [:]
        outcomes.reserveCapacity(asked.keys.count)
        await self.run(asked, limit, unavailable, operation) { key, outcome in outcomes[key] = outcome }
        return outcomes
    }

    /// The outcomes of many keys as they come, each once.
    ///
    /// The flights begin at once, not when the sequence is read first. A reader that stops, or whose task is canceled,
    /// leaves the flights that have not ended to the others.
    ///
    /// - Parameters: as of ``outcomes(of:waitingAtMost:unavailable:operation:)``.
    public func eachOutcome(
        of keys: some Sequence<Key>,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        operation: @escaping ManyOperation
    ) -> AsyncStream<(key: Key, outcome: Outcome<Value>)> {
        let asked = AskedKeys(keys)
        return AsyncStream { continuation in
            let task = Task {
                await self.run(asked, limit, unavailable, operation) { continuation.yield((key: $0, outcome: $1)) }
                continuation.finish()
            }
            continuation.onTermination = { termination in
                if case .cancelled = termination { task.cancel() }
            }
        }
    }

    private func run(
        _ asked: AskedKeys<Key>,
        _ limit: Duration?,
        _ unavailable: UnavailablePolicy?,
        _ operation: @escaping ManyOperation,
        told: (Key, Outcome<Value>) -> Void
    ) async {
        await self.core.run(
            asked.keys.map { self.core.key($0) },
            waitingAtMost: limit,
            unavailable: unavailable,
            operation: { flights in
                let led = LedKeys(flights.indices.map { asked.keys[$0] }, flights)
                let values = try await operation(led)
                var erased: [Int: ErasedValue] = [:]
                for (index, key) in zip(flights.indices, led.keys) {
                    if let value = values[key] { erased[index] = ErasedValue(value) }
                }
                return erased
            },
            told: { index, outcome in told(asked.keys[index], outcome.map { try $0.value() }) }
        )
    }
}

extension DistributedGroup {
    /// The keys that a call for many leads, as its operation sees them.
    public struct LedKeys: Sendable {
        /// The keys, in the order in which the call names them; each once.
        public let keys: [Key]
        private let places: [Key: Int]
        private let led: LedFlights

        init(_ keys: [Key], _ led: LedFlights) {
            self.keys = keys
            self.places = Dictionary(uniqueKeysWithValues: keys.enumerated().map { ($1, $0) })
            self.led = led
        }

        /// The keys' flights, in the order of ``keys``: for fences, and to see whether a result is still wanted.
        public var flights: [Flight<Key>] {
            self.keys.enumerated().map { number, key in self.led.flight(number, key: key) }
        }

        /// Hands in the result of one key before the operation ends: those who wait for it need not wait for the
        /// others.
        ///
        /// The first result of a key counts; what the operation returns or throws later is not that key's. A failure
        /// can be handed in for one key so that the others do not fail with it. Returns false if no result of the key
        /// is wanted: it is none of these keys, has a result, or its lease was lost.
        @discardableResult
        public func complete(_ key: Key, with result: Result<Value, any Error>) -> Bool {
            guard let number = self.places[key] else { return false }
            return self.led.handInEarly(result.map { ErasedValue($0) }, of: number)
        }
    }
}

/// The keys of a call for many, each once, in the order in which the caller names them.
private struct AskedKeys<Key: Hashable & Sendable>: Sendable {
    let keys: [Key]

    init(_ keys: some Sequence<Key>) {
        var seen: Set<Key> = []
        self.keys = keys.filter { seen.insert($0).inserted }
    }
}
