public import Synchronization

/// A part of a group's keys under one lock, and the driver of their flights. Every method has one shape: lock,
/// transition, unlock, act. Under the lock runs no code of a user's but the key's `==`.
@usableFromInline
final class Shard<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    @usableFromInline typealias Table = FlightTable<Key, Value, Continuation<Outcome<Value>>, Work>

    @usableFromInline let table = Mutex(Table())

    /// Distinguishes the shard from every other of the process, of whatever group, alive or dead.
    @usableFromInline let number: UInt64

    @usableFromInline
    init() {
        self.number = ShardNumber.next()
    }

    // MARK: Callers

    /// See ``FlightTable/enter(_:hash:leaderSubscribes:limit:isInside:)``.
    ///
    /// The path of flights is asked for only if there is a flight to join, or after it was begun: so that a caller who waits
    /// doesn't hold it.
    @inline(never)
    @inlinable
    func enter(
        _ key: Key,
        hash: Int,
        leaderSubscribes: Bool,
        limit: Int?
    ) -> Table.Entrance {
        self.table.withLock { table in
            table.enter(key, hash: hash, leaderSubscribes: leaderSubscribes, limit: limit) { flight in
                FlightPath.current.contains(shard: self.number, flight: flight)
            }
        }
    }

    /// See ``FlightTable/join(_:hash:limit:isInside:)``.
    @inlinable
    func join(_ key: Key, hash: Int, limit: Int?) -> Table.Entrance? {
        self.table.withLock { table in
            table.join(key, hash: hash, limit: limit) { flight in
                FlightPath.current.contains(shard: self.number, flight: flight)
            }
        }
    }

    /// Waits for the outcome of a subscription, which is over afterwards.
    ///
    /// Part of its callers, and nothing else of a call is: then all that a waiting caller holds, from `run` down to its
    /// continuation, fits into the slab that its task begins with. One frame more, and it takes another one, of 1 KiB;
    /// with the whole of a call inlined it took two.
    @inline(__always)
    @inlinable
    nonisolated(nonsending) func outcome(_ flight: FlightID, _ seat: SeatID) async -> Outcome<Value> {
        await withTaskCancellationHandler {
            if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
                await withTaskPriorityEscalationHandler {
                    await withContinuation { self.wait(flight, seat, $0) }
                } onPriorityEscalated: { _, priority in
                    self.raise(flight, to: priority.rawValue)
                }
            } else {
                await withContinuation { self.wait(flight, seat, $0) }
            }
        } onCancel: {
            self.cancelWait(flight, seat)
        }
    }

    /// The outcome of a subscription if it is known; nil if it must be waited for.
    @inlinable
    func collect(_ flight: FlightID, _ seat: SeatID) -> Outcome<Value>? {
        var remains = Table.Remains()
        switch self.table.withLock({ $0.collect(flight, seat, &remains) }) {
        case .wait: return nil
        case .deliver(let outcome): return outcome
        case .gone: return .canceled(Self.reasonOfGone)
        }
    }

    /// Whoever finds its own subscription gone was removed by its cancellation handler or by a call to `leave`.
    @inlinable
    static var reasonOfGone: Cancellation {
        Task.isCancelled ? .callerCanceled : .left
    }

    @inlinable
    func wait(_ flight: FlightID, _ seat: SeatID, _ continuation: Continuation<Outcome<Value>>) {
        var remains = Table.Remains()
        let priority = Task.currentPriority.rawValue
        switch self.table.withLock({ $0.wait(flight, seat, continuation, priority: priority, &remains) }) {
        case .suspend(let work): work?.raise(to: priority)
        case .deliver(let outcome): continuation.resume(returning: outcome)
        case .gone: continuation.resume(returning: .canceled(Self.reasonOfGone))
        }
    }

    @inlinable
    func raise(_ flight: FlightID, to priority: UInt8) {
        self.table.withLock { $0.raise(flight, to: priority) }?.raise(to: priority)
    }

    @inlinable
    func cancelWait(_ flight: FlightID, _ seat: SeatID) {
        var remains = Table.Remains()
        let action = self.table.withLock { $0.cancelWait(flight, seat, &remains) }
        action.waiter?.resume(returning: .canceled(.callerCanceled))
        action.abandoned?.abandon()
    }

    @inlinable
    func leave(_ flight: FlightID, _ seat: SeatID) {
        var remains = Table.Remains()
        let action = self.table.withLock { $0.leave(flight, seat, &remains) }
        action.waiter?.resume(returning: .canceled(.left))
        action.abandoned?.abandon()
    }

    // MARK: The leader

    /// Runs the operation in a task of its own, which completes the flight, and waits for the outcome in the leader's seat.
    ///
    /// Where the system has it, the task starts on the caller's thread, and so costs less than half. That thread must not
    /// be an actor's: hence not on the caller's executor.
    @concurrent
    @inline(never)
    @inlinable
    func launch(
        _ flight: FlightID,
        _ seat: SeatID,
        endsWhenAbandoned: Bool,
        _ operation: @escaping @Sendable () async throws -> Value
    ) async -> Outcome<Value> {
        let task: Task<Void, Never>
        if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
            task = Task.immediate {
                self.complete(flight, await self.result(flight, operation), leaderLeaves: true)
            }
        } else {
            task = Task {
                self.complete(flight, await self.result(flight, operation), leaderLeaves: true)
            }
        }
        // An operation that has not suspended is over by now: to attach its task first would cost a lock more.
        if let outcome = self.collect(flight, seat) { return outcome }
        self.attach(flight, .task(task), endsWhenAbandoned: endsWhenAbandoned, priority: Task.currentPriority.rawValue)
        return await self.outcome(flight, seat)
    }

    /// Runs the operation in the caller's task, and completes the flight.
    @concurrent
    @inline(never)
    @inlinable
    func lead(
        _ flight: FlightID,
        _ operation: @Sendable () async throws -> Value
    ) async -> Outcome<Value> {
        let result = await self.result(flight, operation)
        if case .failure = result, Task.isCancelled {
            self.leaderLeaves(flight)
            return .canceled(.callerCanceled)
        }
        let isShared = self.completeAndLeave(flight, result)
        return .complete(Completion(result: result, isShared: isShared, role: .leader))
    }

    /// Runs the operation on behalf of the flight.
    ///
    /// Bound to no actor, like its callers, and part of them: so the compiler sees that most changes of executor are
    /// none. One that it does not see costs 10 ns, and 45 ns in a task that `Task.immediate` has started.
    @concurrent
    @inline(__always)
    @inlinable
    func result(
        _ flight: FlightID,
        _ operation: @Sendable () async throws -> Value
    ) async -> Result<Value, any Error> {
        let operation = { @concurrent () async -> Result<Value, any Error> in
            do {
                return .success(try await operation())
            } catch {
                return .failure(error)
            }
        }
        let inner = FlightPath(shard: self.number, flight: flight, outer: FlightPath.current)
        return await FlightPath.local.withValue(inner, operation: operation, isolation: nil)
    }

    @inlinable
    func attach(_ flight: FlightID, _ work: Work, endsWhenAbandoned: Bool, priority: UInt8) {
        var remains = Table.Remains()
        let action = self.table.withLock {
            $0.attach(flight, work, endsWhenAbandoned: endsWhenAbandoned, priority: priority, &remains)
        }
        switch action {
        case .keep, .ignore: break
        case .raise(let priority): work.raise(to: priority)
        case .abandon: work.abandon()
        }
    }

    /// Publishes a result. Returns whether it is shared, or nil if the flight had ended before.
    @inlinable
    @discardableResult
    func complete(_ flight: FlightID, _ result: Result<Value, any Error>, leaderLeaves: Bool) -> Bool? {
        var remains = Table.Remains()
        let departure = self.table.withLock { $0.complete(flight, result, leaderLeaves: leaderLeaves, &remains) }
        guard let departure else { return nil }
        Self.resume(departure)
        guard case .complete(let completion) = departure.outcome else { return nil }
        return completion.isShared
    }

    /// Publishes the result of a leader that does not come back. Returns whether it is shared.
    @inlinable
    func completeAndLeave(_ flight: FlightID, _ result: Result<Value, any Error>) -> Bool {
        var remains = Table.Remains()
        if self.table.withLock({ $0.endUntouched(flight, &remains) }) { return false }
        return self.complete(flight, result, leaderLeaves: true) ?? false
    }

    @inlinable
    func cancel(_ flight: FlightID, _ reason: Cancellation) -> Bool {
        var remains = Table.Remains()
        guard let departure = self.table.withLock({ $0.cancel(flight, reason, &remains) }) else { return false }
        Self.resume(departure)
        return true
    }

    @inlinable
    func leaderLeaves(_ flight: FlightID) {
        var remains = Table.Remains()
        guard let departure = self.table.withLock({ $0.leaderLeaves(flight, &remains) }) else { return }
        Self.resume(departure)
    }

    @inlinable
    func subscribe(_ flight: FlightID) -> SeatID? {
        self.table.withLock { $0.subscribe(flight) }
    }

    @inlinable
    static func resume(_ departure: Table.Flight.Departure) {
        for case .waiting(_, let continuation, let role) in departure.seats {
            continuation.resume(returning: departure.outcome.seen(as: role))
        }
    }
}

/// Numbers the shards of the process, and whatever else is told apart on a ``FlightPath``.
@usableFromInline
package enum ShardNumber {
    private static let last = Atomic<UInt64>(0)

    @usableFromInline
    package static func next() -> UInt64 {
        self.last.wrappingAdd(1, ordering: .relaxed).newValue
    }
}
