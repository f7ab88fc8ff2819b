public import Singleflight

/// Coalesces calls across processes: for each key, one caller in the whole cluster runs its operation, every other
/// caller gets that one result.
///
/// A local `Group` stands in front: a process has at most one request per key at the store, however many callers
/// wait. Safe to use from any thread; make one per kind of value and keep it.
///
/// This saves work, it is no lock: a leader that is paused, or a store that loses data, can let two operations run.
/// Whatever must not be written twice should check ``Flight/fence()``.
public final class DistributedGroup<Key: FlightKeyConvertible, Value: Sendable>: Sendable {
    /// The group's name: part of every key's identity in the store.
    public var name: String { self.core.name }
    /// The durations and rules that the group was made with.
    public var configuration: DistributedGroupConfiguration { self.core.configuration }

    /// Everything behind this class is of one type, whatever the group's: generic code that another module uses, and
    /// even the deinitializer of a generic class, looks up the metadata of its types as it runs, a quarter of a
    /// flight's time.
    let core: GroupCore

    /// - Parameters:
    ///   - runtime: where foreign code runs.
    ///   - live: what the parts may take that operations tell of their results, if they do.
    package init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration,
        codec: any FlightCodec<Value>,
        runtime: FlightRuntime,
        live: StreamLimits? = nil
    ) throws(DistributedGroupError) {
        self.core = try GroupCore(
            name,
            store: store,
            configuration: configuration,
            codec: ErasedCodec(codec),
            runtime: runtime,
            streams: live
        )
    }

    /// Makes a group whose values cross processes by `codec`.
    ///
    /// - Parameters:
    ///   - name: 1 to 64 of `A-Za-z0-9._-`, not ending in `.observe`, which ``CoalescingMode/observe`` uses. Groups of
    ///     one name on one store share their flights: give each kind of value its own.
    ///   - store: where the leases are kept.
    ///   - configuration: the durations and rules. Processes that share flights may differ in them: a lease follows its
    ///     leader's.
    ///   - codec: turns values into bytes and back.
    /// - Throws: ``DistributedGroupError`` of the code ``DistributedGroupError/Code/invalidConfiguration``.
    public convenience init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init(),
        codec: any FlightCodec<Value>
    ) throws(DistributedGroupError) {
        try self.init(name, store: store, configuration: configuration, codec: codec, runtime: .standard)
    }

    /// The number of keys that callers of this process wait for.
    public var inFlight: Int { self.core.inFlight }

    /// What a group that only observes has seen since it was made; nothing in any other.
    public var observation: ObservedCalls { self.core.observation }

    /// The value of `key`: from this call's operation, or from the one that runs already, here or in another process.
    ///
    /// - Parameters: as of ``run(_:waitingAtMost:unavailable:operation:)``.
    /// - Throws: as `Outcome.get()`: what the operation threw, as a ``RemoteFailure`` or, by the group's
    ///   ``TypedFailures``, as itself, whichever process it ran in; ``DistributedGroupError`` if the group could not
    ///   pass the result on.
    public func value(
        _ key: Key,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        operation: @escaping @Sendable @concurrent (Flight<Key>) async throws -> Value
    ) async throws -> Value {
        try await self.run(key, waitingAtMost: limit, unavailable: unavailable, operation: operation).get()
    }

    /// The outcome of `key`, with everything that is known of how it came about.
    ///
    /// An operation that asks for its own key, or for that of an operation that waits for it, in whatever process, is
    /// refused with a `GroupError` that tells the way; docs/protocol.md says which circles are found. What a detached
    /// task asks for is not seen.
    ///
    /// - Parameters:
    ///   - key: what to compute.
    ///   - limit: how long this caller waits at most. Giving up leaves the flight to the others; if there are none, it
    ///     ends.
    ///   - unavailable: what this caller gets if the store cannot be asked; `nil` for the group's policy.
    ///   - operation: computes the value, in a task of its own that inherits this caller's task-locals and priority.
    ///     The task is canceled when the lease is lost and when nobody waits any more, here or elsewhere.
    public func run(
        _ key: Key,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        operation: @escaping @Sendable @concurrent (Flight<Key>) async throws -> Value
    ) async -> Outcome<Value> {
        let outcome = await self.core.run(
            self.core.key(key),
            waitingAtMost: limit,
            unavailable: unavailable
        ) { flight in
            ErasedValue(try await operation(Flight(flight, key: key)))
        }
        return outcome.map { try $0.value() }
    }

    /// The outcome of `key`; meanwhile `onProgress` is told how far the operation is, wherever it runs.
    ///
    /// What is told is as of ``FlightProgressUpdates``. The calls of `onProgress` come one after the other, in a task
    /// of their own, all of them before this method returns.
    ///
    /// - Parameters: as of ``run(_:waitingAtMost:unavailable:operation:)``.
    public func run(
        _ key: Key,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        onProgress: @escaping @Sendable (FlightProgress) -> Void,
        operation: @escaping @Sendable @concurrent (Flight<Key>) async throws -> Value
    ) async -> Outcome<Value> {
        let feed = ProgressFeed(endsWithFlight: false)
        async let reading: Void = {
            while let progress = await feed.next() {
                onProgress(progress)
            }
        }()
        let outcome = await self.core.run(
            self.core.key(key),
            waitingAtMost: limit,
            unavailable: unavailable,
            feed: feed
        ) { flight in
            ErasedValue(try await operation(Flight(flight, key: key)))
        }
        feed.finish()
        await reading
        return outcome.map { try $0.value() }
    }

    /// The outcome of the flight of `key` that runs, here or elsewhere. This caller never leads.
    ///
    /// `Cancellation.noFlight` if there is none: nobody leads the key in any process, whatever earlier flight's
    /// result may still be kept. To learn that, the store is asked, unless the flight is known in this process; where
    /// it cannot be asked, the result is a ``DistributedGroupError`` of the code
    /// ``DistributedGroupError/Code/unavailable``. An operation that runs without a lease in another process is nowhere
    /// to be found.
    ///
    /// As long as this caller waits it counts as one that does, so the work goes on; it has no say in what becomes of a
    /// flight whose leader is lost under ``LeaderLossPolicy/takeOver(attempts:)``. The others take over, and it waits
    /// for the new leader; if nobody does, it gets `Cancellation.leaseExpired` when they end the flight, or when the
    /// store forgets it, after the grace of the leader that was lost. Under ``LeaderLossPolicy/cancel`` the flight ends
    /// with its leader's lease.
    ///
    /// - Parameters:
    ///   - key: what is being computed.
    ///   - limit: how long this caller waits at most: then it gets `Cancellation.waitLimitReached`.
    public func follow(_ key: Key, waitingAtMost limit: Duration? = nil) async -> Outcome<Value> {
        await self.core.follow(self.core.key(key), waitingAtMost: limit).map { try $0.value() }
    }

    /// Joins the flight of `key` that runs, here or elsewhere, or else starts one that the caller brings to its end by
    /// hand.
    ///
    /// The store is asked, so the answer can take as long as the store's command timeout, and no longer. It is always
    /// one of the two: a caller that gets no flight is given a subscriber whose outcome says at once why. That is so if
    /// the group refuses the caller, if its task is canceled, if an earlier result is reused, and if the store cannot
    /// be asked and the policy is ``UnavailablePolicy/fail``; under ``UnavailablePolicy/runLocally`` it leads without a
    /// lease, or joins the caller that does in this process.
    ///
    /// Handles and callers of ``run(_:waitingAtMost:unavailable:operation:)`` join the same flights. Should the leader
    /// be lost under ``LeaderLossPolicy/takeOver(attempts:)``, only a process that has a caller with an operation can
    /// take over; where there is none in time, the flight ends as canceled.
    ///
    /// - Parameters:
    ///   - key: what to compute.
    ///   - unavailable: what this caller gets if the store cannot be asked; `nil` for the group's policy.
    public func entry(
        _ key: Key,
        unavailable: UnavailablePolicy? = nil
    ) async -> Entry {
        switch await self.core.entry(self.core.key(key), unavailable: unavailable) {
        case .leader(let leader): .leader(Leader(leader, key: key))
        case .subscriber(let subscriber): .subscriber(Subscriber(subscriber, key: key))
        }
    }
}

extension DistributedGroup {
    /// Says what is missing where a value can cross processes neither as JSON nor by a codec.
    @available(
        *,
        unavailable,
        message: "values cross processes as JSON if their type is Codable: declare it so, or give the group a codec"
    )
    public convenience init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init()
    ) throws(DistributedGroupError) {
        throw DistributedGroupError(.invalidConfiguration, "the values of \(name) need a codec")
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

extension DistributedGroup: Coalescing {
    /// The same as ``run(_:waitingAtMost:unavailable:operation:)`` by the group's own policies, for an operation that
    /// needs to know nothing of its flight.
    public func coalesced(
        _ key: Key,
        operation: @escaping @Sendable @concurrent () async throws -> Value
    ) async -> Outcome<Value> {
        await self.run(key) { _ in try await operation() }
    }
}
