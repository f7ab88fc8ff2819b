public import Synchronization

/// The right and the duty to bring one flight to an end.
///
/// For work that is scheduled by hand: whoever gets a leader from ``Group/entry(_:)`` computes the value wherever it
/// likes and calls ``complete(_:)``. If the last reference to a leader goes away before, everybody who waits gets
/// ``Cancellation/leaderLeft`` and the key is free again: nobody hangs.
///
/// Safe to use from any thread. Handlers and waiting callers run outside of all locks.
public final class Leader<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    /// What is being computed.
    public let key: Key

    @usableFromInline let shard: Shard<Key, Value>
    @usableFromInline let flight: FlightID

    @inlinable
    init(key: Key, shard: Shard<Key, Value>, flight: FlightID) {
        self.key = key
        self.shard = shard
        self.flight = flight
    }

    @inlinable
    deinit {
        self.shard.leaderLeaves(self.flight)
    }

    /// How many subscriptions of this flight have neither ended nor got their outcome; those made by ``subscribe()``
    /// are among them.
    @inlinable
    public var subscriberCount: Int {
        self.shard.table.withLock { $0.subscriberCount(self.flight) }
    }

    /// Subscribes the leader itself to the flight, so that it can wait like everybody else.
    ///
    /// The subscription's role is ``Role/leader``, and it does not count for
    /// ``GroupConfiguration/maximumWaitersPerKey``. After the flight has ended, it gets the same outcome.
    @inlinable
    public func subscribe() -> Subscriber<Key, Value> {
        Subscriber(key: self.key, shard: self.shard, flight: self.flight, seat: self.shard.subscribe(self.flight))
    }

    /// Publishes the result to everybody who waits, and frees the key.
    ///
    /// Returns false, and does nothing, if the flight has ended before: by an earlier call, by ``cancel(_:)``, or
    /// because it was abandoned. Linear in the number of suspended callers.
    @inlinable
    @discardableResult
    public func complete(_ result: Result<Value, any Error>) -> Bool {
        self.shard.complete(self.flight, result, leaderLeaves: false) != nil
    }

    /// Ends the flight without a result: everybody who waits gets `reason`, and the key is free.
    ///
    /// Returns false, and does nothing, if the flight has ended before.
    @inlinable
    @discardableResult
    public func cancel(_ reason: Cancellation = .leaderLeft) -> Bool {
        self.shard.cancel(self.flight, reason)
    }

    /// Ends the flight when its last subscriber leaves, and calls `handler` then, once.
    ///
    /// In the same critical section in which the last subscriber leaves the flight ends and the key becomes free, so a
    /// later caller leads a new flight; then the handler is called, outside of the lock. From then on
    /// ``complete(_:)`` returns false. If everybody has left already, this happens within this call. A flight that
    /// nobody has subscribed to yet is not abandoned.
    ///
    /// Without a handler a flight goes on when everybody has left, and callers may join it again. Only the first handler
    /// is kept; it is dropped unheard when the flight ends in another way, or the leader goes away. It is given the
    /// leader, and must not hold it: held by its own handler, a leader that everybody has forgotten would keep them waiting.
    @inlinable
    public func onAbandoned(_ handler: @escaping @Sendable (Leader<Key, Value>) -> Void) {
        let work = Work.handler { [weak self] in if let self { handler(self) } }
        self.shard.attach(self.flight, work, endsWhenAbandoned: true, priority: 0)
    }

    /// Runs the flight's work, completes the flight with whatever the work returns or throws, and tells how it ended.
    ///
    /// Inside of the work, asking the same group for the same key is refused: see ``onBehalf(isolation:_:)``.
    @discardableResult
    public func perform(
        isolation: isolated (any Actor)? = #isolation,
        _ work: () async throws -> Value
    ) async -> Outcome<Value> {
        let result: Result<Value, any Error>
        do {
            result = .success(try await self.onBehalf(isolation: isolation, work))
        } catch {
            result = .failure(error)
        }
        guard let isShared = self.shard.complete(self.flight, result, leaderLeaves: false) else {
            return await self.subscribe().outcome()
        }
        return .complete(Completion(result: result, isShared: isShared, role: .leader))
    }

    /// Runs something on behalf of this flight: inside of it, asking the same group for the same key is refused as a
    /// re-entrant call instead of waiting for itself.
    ///
    /// It binds a task-local value, so it holds for child tasks too. It does not complete the flight.
    @inlinable
    public func onBehalf<T: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> T
    ) async rethrows -> T {
        let path = FlightPath(shard: self.shard.number, flight: self.flight, outer: FlightPath.current)
        return try await FlightPath.local.withValue(path, operation: body, isolation: isolation)
    }
}
