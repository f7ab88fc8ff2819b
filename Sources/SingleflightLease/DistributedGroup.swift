import Singleflight

/// Coalesces calls across processes: for each key, one caller in the whole cluster runs its operation, every other
/// caller gets that one result.
///
/// A local ``Group`` stands in front: a process has at most one request per key at the store, however many callers
/// wait. Safe to use from any thread; make one per kind of value and keep it.
///
/// This saves work, it is no lock: a leader that is paused, or a store that loses data, can let two operations run. Whatever must not be written
/// twice should check ``Flight/fence()``.
public final class DistributedGroup<Key: FlightKeyConvertible, Value: Sendable>: Sendable {
    /// The group's name: part of every key's identity in the store.
    public let name: String
    /// The durations and rules that the group was made with.
    public let configuration: DistributedGroupConfiguration

    private let store: any LeaseStore
    private let terms: FlightTerms
    private let coder: PayloadCoder<Value>
    private let tooLong: StoredOutcome
    /// `nil` if nobody wants to know anything.
    private let observer: GroupObserver?
    private let flights: Group<Key, LocalResolution<Value>>
    /// Coalesces within the process the calls that the store could not be asked about.
    private let localRuns: Group<Key, Value>

    /// Makes a group whose values cross processes by `codec`.
    ///
    /// - Parameters:
    ///   - name: 1 to 64 of `A-Za-z0-9._-`. Groups of one name on one store share their flights: give each kind of value its own.
    ///   - store: where the leases are kept.
    ///   - configuration: the durations and rules. Processes that share flights may differ in them: a lease follows its leader's.
    ///   - codec: turns values into bytes and back.
    /// - Throws: ``DistributedGroupError`` of the code ``DistributedGroupError/Code/invalidConfiguration``.
    public init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init(),
        codec: any FlightCodec<Value>
    ) throws(DistributedGroupError) {
        guard FlightKey.isName(name) else {
            throw DistributedGroupError(
                .invalidConfiguration,
                "the group name \(name.debugDescription) is not 1 to 64 of A-Z a-z 0-9 . _ -"
            )
        }
        guard (1...Envelope.maximumNameBytes).contains(codec.identifier.utf8.count) else {
            throw DistributedGroupError(
                .invalidConfiguration,
                "the codec's identifier \(codec.identifier.debugDescription) is not 1 to \(Envelope.maximumNameBytes) bytes"
            )
        }
        self.name = name
        self.configuration = configuration
        self.store = store
        self.terms = try configuration.terms(commandTimeout: store.commandTimeout)
        self.coder = PayloadCoder(
            codec: codec,
            typedFailures: configuration.typedFailures,
            maximumResultBytes: configuration.maximumResultBytes,
            label: store.label
        )
        self.tooLong = self.coder.encode(DistributedGroupError.flightTooLong)
        self.observer = GroupObserver(group: name, clock: store.clock, configuration.observability)
        let local = GroupConfiguration(maximumWaitersPerKey: configuration.maximumWaitersPerKey)
        self.flights = Group(local)
        self.localRuns = Group(local)
    }

    /// The number of keys that callers of this process wait for.
    public var inFlight: Int { self.flights.inFlight + self.localRuns.inFlight }

    /// The value of `key`: from this call's operation, or from the one that runs already, here or in another process.
    ///
    /// - Parameters: as of ``run(_:waitingAtMost:unavailable:operation:)``.
    /// - Throws: what the operation threw, in this process as it is, from another as a ``RemoteFailure`` or by the group's
    ///   ``TypedFailures``; `CancellationError` if this caller's task was canceled; ``FlightCanceledError`` if no result will come;
    ///   `GroupError` if the caller was turned away; ``DistributedGroupError`` if the group could not pass the result on.
    public func value(
        _ key: Key,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        operation: @escaping @Sendable (Flight<Key>) async throws -> Value
    ) async throws -> Value {
        switch await self.run(key, waitingAtMost: limit, unavailable: unavailable, operation: operation) {
        case .complete(let completion): return try completion.result.get()
        case .canceled(.callerCancelled): throw CancellationError()
        case .canceled(.refused(let error)): throw error
        case .canceled(let reason): throw FlightCanceledError(reason: reason)
        }
    }

    /// The outcome of `key`, with everything that is known of how it came about.
    ///
    /// - Parameters:
    ///   - key: what to compute.
    ///   - limit: how long this caller waits at most. Giving up leaves the flight to the others; if there are none, it ends.
    ///   - unavailable: what this caller gets if the store cannot be asked; `nil` for the group's policy.
    ///   - operation: computes the value, in a task of its own that inherits this caller's task-locals and priority. The task is canceled when the
    ///     lease is lost and when nobody waits any more, here or elsewhere.
    public func run(
        _ key: Key,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        operation: @escaping @Sendable (Flight<Key>) async throws -> Value
    ) async -> DistributedOutcome<Value> {
        let calledAt = self.store.clock.now
        guard let call = self.observer?.call(key, at: calledAt) else {
            return await self.perform(key, limit, unavailable, calledAt: calledAt, call: nil, operation)
        }
        let outcome = await self.perform(key, limit, unavailable, calledAt: calledAt, call: call, operation)
        call.end(outcome)
        return outcome
    }

    private func perform(
        _ key: Key,
        _ limit: Duration?,
        _ unavailable: UnavailablePolicy?,
        calledAt: LeaseInstant,
        call: CallObserver?,
        _ operation: @escaping @Sendable (Flight<Key>) async throws -> Value
    ) async -> DistributedOutcome<Value> {
        if Task.isCancelled { return .canceled(.callerCancelled) }
        let waitEnd = limit.map { calledAt.advanced(by: $0) }
        let (subscriber, isStarter) = CallObserver.within(call) { self.join(key, call: call, operation: operation) }

        let completion: Completion<LocalResolution<Value>>
        switch await self.wait(subscriber, until: waitEnd) {
        case .complete(let local): completion = local
        case .canceled(let reason): return .canceled(Self.cancellation(reason))
        }
        switch completion.result {
        case .success(.finished(let flight)):
            return self.outcome(
                of: flight,
                isStarter: isStarter,
                isShared: completion.isShared,
                unavailable: unavailable ?? self.configuration.unavailable,
                calledAt: calledAt,
                call: call
            )
        case .success(.canceled(let reason)):
            return .canceled(reason)
        case .success(.unavailable(let error)):
            switch unavailable ?? self.configuration.unavailable {
            case .fail:
                return self.unavailable(error, calledAt: calledAt)
            case .runLocally:
                return await self.runLocally(key, until: waitEnd, calledAt: calledAt, call: call, operation: operation)
            }
        case .failure(let error):
            // Flights complete with a resolution, never with an error of their own.
            return .complete(self.degraded(.failure(error), role: .subscriber, isShared: true, calledAt: calledAt))
        }
    }

    // MARK: - With a lease

    private func join(
        _ key: Key,
        call: CallObserver?,
        operation: @escaping @Sendable (Flight<Key>) async throws -> Value
    ) -> (Subscriber<Key, LocalResolution<Value>>, isStarter: Bool) {
        switch self.flights.entry(key) {
        case .subscriber(let subscriber):
            return (subscriber, false)
        case .leader(let leader):
            let subscriber = leader.subscribe()
            let observer = call?.flight()
            let flight = LocalFlight(key: key, leader: leader, coder: self.coder, observer: observer)
            let driver = FlightDriver(
                key: FlightKey(checkedGroup: self.name, bytes: key.flightKeyBytes),
                store: self.store,
                terms: self.terms,
                tooLong: self.tooLong,
                random: .system,
                owner: flight,
                observer: observer
            )
            leader.onAbandoned { driver.abandon() }
            flight.prepare(operation)
            driver.start()
            return (subscriber, true)
        }
    }

    private func wait<Result: Sendable>(
        _ subscriber: Subscriber<Key, Result>,
        until deadline: LeaseInstant?
    ) async -> Outcome<Result> {
        guard let deadline else { return await subscriber.outcome() }
        let timer = self.store.clock.schedule(at: deadline) { subscriber.leave() }
        let outcome = await subscriber.outcome()
        self.store.clock.cancel(timer)
        return outcome
    }

    private func outcome(
        of flight: FinishedFlight<Value>,
        isStarter: Bool,
        isShared: Bool,
        unavailable: UnavailablePolicy,
        calledAt: LeaseInstant,
        call: CallObserver?
    ) -> DistributedOutcome<Value> {
        if let error = flight.unverified, unavailable == .fail {
            return self.unavailable(error, calledAt: calledAt)
        }
        let role: FlightRole =
            switch flight.source {
            case .thisProcess: isStarter ? .leader : .subscriber
            case .remote, .reused: .follower
            }
        call?.woke(by: flight, as: role)
        return .complete(
            DistributedCompletion(
                result: flight.result,
                isShared: isShared || flight.isSharedElsewhere,
                role: role,
                source: flight.source,
                token: flight.token,
                leader: flight.leader,
                waited: calledAt.duration(to: self.store.clock.now),
                attempts: flight.attempts,
                coordination: flight.unverified == nil ? .coordinated : .degraded
            )
        )
    }

    // MARK: - Without a store

    private func runLocally(
        _ key: Key,
        until deadline: LeaseInstant?,
        calledAt: LeaseInstant,
        call: CallObserver?,
        operation: @escaping @Sendable (Flight<Key>) async throws -> Value
    ) async -> DistributedOutcome<Value> {
        let subscriber: Subscriber<Key, Value>
        switch self.localRuns.entry(key) {
        case .subscriber(let other):
            subscriber = other
        case .leader(let leader):
            subscriber = leader.subscribe()
            let task = CallObserver.within(call) {
                Task {
                    do {
                        leader.complete(.success(try await leader.perform { try await operation(Flight(key: key)) }))
                    } catch {
                        leader.complete(.failure(error))
                    }
                }
            }
            leader.onAbandoned { task.cancel() }
        }
        switch await self.wait(subscriber, until: deadline) {
        case .complete(let local):
            let role: FlightRole =
                switch local.role {
                case .leader: .leader
                case .subscriber: .subscriber
                }
            return .complete(self.degraded(local.result, role: role, isShared: local.isShared, calledAt: calledAt))
        case .canceled(let reason):
            return .canceled(Self.cancellation(reason))
        }
    }

    private func unavailable(_ error: LeaseStoreError, calledAt: LeaseInstant) -> DistributedOutcome<Value> {
        let failure = DistributedGroupError(.unavailable, "the store could not be asked: \(error)", underlying: error)
        return .complete(self.degraded(.failure(failure), role: .subscriber, isShared: false, calledAt: calledAt))
    }

    private func degraded(
        _ result: Result<Value, any Error>,
        role: FlightRole,
        isShared: Bool,
        calledAt: LeaseInstant
    ) -> DistributedCompletion<Value> {
        DistributedCompletion(
            result: result,
            isShared: isShared,
            role: role,
            source: .thisProcess,
            token: nil,
            leader: self.store.label,
            waited: calledAt.duration(to: self.store.clock.now),
            attempts: 1,
            coordination: .degraded
        )
    }

    private static func cancellation(_ reason: CancellationReason) -> DistributedCancellation {
        switch reason {
        case .callerCancelled: .callerCancelled
        case .left: .waitLimitReached
        case .refused(let error): .refused(error)
        case .leaderLeft, .abandoned, .custom: .leaseLost
        }
    }
}

extension DistributedGroup where Value: Codable {
    /// Makes a group whose values cross processes as JSON.
    public convenience init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init()
    ) throws(DistributedGroupError) {
        try self.init(name, store: store, configuration: configuration, codec: JSONCodec<Value>())
    }
}

extension DistributedGroup where Value == [UInt8] {
    /// Makes a group whose values, bytes, cross processes as they are.
    public convenience init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init()
    ) throws(DistributedGroupError) {
        try self.init(name, store: store, configuration: configuration, codec: BytesCodec())
    }
}
