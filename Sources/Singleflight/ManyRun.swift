import Synchronization

/// The one run of an operation for many keys, and the flights that it is to bring to their end.
final class ManyRun<Key: Hashable & Sendable, Value: Sendable>: SharedWork {
    struct Led: Sendable {
        let key: Key
        let shard: Shard<Key, Value>
        let flight: FlightID
    }

    typealias Operation = Group<Key, Value>.ManyOperation

    private struct State {
        /// How many flights have neither a result nor been abandoned.
        var wanted: Int
        var task: Task<Void, Never>?
        /// The results that came first, and whether each is shared.
        var results: [Key: Completion<Value>] = [:]
    }

    let keys: [Key]
    private let led: [Key: Led]
    private let state: Mutex<State>

    init(_ led: [Led]) {
        self.keys = led.map(\.key)
        self.led = Dictionary(uniqueKeysWithValues: led.map { ($0.key, $0) })
        self.state = Mutex(State(wanted: led.count))
    }

    /// Runs the operation in a task of its own. To be called once.
    func launch(endsWhenAbandoned: Bool, _ operation: @escaping Operation) {
        let priority = Task.currentPriority.rawValue
        for flight in self.led.values {
            flight.shard.attach(
                flight.flight,
                .shared(self),
                endsWhenAbandoned: endsWhenAbandoned,
                priority: priority
            )
        }
        let task = Task { self.end(with: await self.result(of: operation)) }
        let isUnwanted = self.state.withLock { state in
            state.task = task
            return state.wanted == 0
        }
        if isUnwanted { task.cancel() }
    }

    /// Runs the operation in the caller's task. Answers what the caller is told of each of its keys. To be called once.
    @concurrent
    func lead(_ operation: @escaping Operation) async -> [Key: Outcome<Value>] {
        let result = await self.result(of: operation)
        if case .failure = result, Task.isCancelled {
            for flight in self.led.values { flight.shard.leaderLeaves(flight.flight) }
        } else {
            self.end(with: result)
        }
        let results = self.state.withLock { $0.results }
        return self.led.mapValues { results[$0.key].map { .complete($0) } ?? .canceled(.callerCanceled) }
    }

    /// Runs the operation on behalf of all flights.
    private func result(of operation: Operation) async -> Result<[Key: Value], any Error> {
        let path = self.keys.reduce(FlightPath.current) { outer, key in
            guard let flight = self.led[key] else { return outer }
            return FlightPath(shard: flight.shard.number, flight: flight.flight, outer: outer)
        }
        do {
            return .success(try await FlightPath.local.withValue(path) { try await operation(.init(self)) })
        } catch {
            return .failure(error)
        }
    }

    private func end(with result: Result<[Key: Value], any Error>) {
        for key in self.keys {
            self.complete(
                key,
                with: result.flatMap { values in
                    values[key].map { .success($0) } ?? .failure(GroupError(.noResult, key: key))
                }
            )
        }
    }

    /// Ends the flight of the key, if it is one of these and has not ended. Returns whether it did.
    @discardableResult
    func complete(_ key: Key, with result: Result<Value, any Error>) -> Bool {
        guard let flight = self.led[key] else { return false }
        guard let isShared = flight.shard.complete(flight.flight, result, leaderLeaves: true) else { return false }
        self.state.withLock { state in
            state.wanted -= 1
            state.results[key] = Completion(result: result, isShared: isShared, role: .leader)
        }
        return true
    }

    // MARK: Work of each flight

    func abandon() {
        let task = self.state.withLock { state -> Task<Void, Never>? in
            state.wanted -= 1
            return state.wanted == 0 ? state.task : nil
        }
        task?.cancel()
    }

    func raise(to priority: UInt8) {
        guard let task = self.state.withLock({ $0.task }) else { return }
        Work.task(task).raise(to: priority)
    }
}

extension Group {
    /// The keys that a call for many leads, as its operation sees them.
    public struct LedKeys: Sendable {
        private let run: ManyRun<Key, Value>

        init(_ run: ManyRun<Key, Value>) {
            self.run = run
        }

        /// The keys, in the order in which the call names them; each once.
        public var keys: [Key] { self.run.keys }

        /// Hands in the result of one key before the operation ends: those who wait for it need not wait for the
        /// others.
        ///
        /// The first result of a key counts; what the operation returns or throws later is not that key's. A failure
        /// can be handed in for one key so that the others do not fail with it. Returns false if no result of the key
        /// is wanted: it is none of these keys, has a result, or was abandoned.
        @discardableResult
        public func complete(_ key: Key, with result: Result<Value, any Error>) -> Bool {
            self.run.complete(key, with: result)
        }
    }
}
