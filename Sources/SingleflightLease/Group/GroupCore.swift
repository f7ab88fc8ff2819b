import Singleflight

/// A distributed group of whatever keys and values: what is behind every ``DistributedGroup``.
///
/// Not generic, as nothing behind it is: generic code that another module uses, and even the deinitializer of a generic
/// class that is specialized, looks up the metadata of its types as it runs. That was a quarter of a flight's time.
final class GroupCore: Sendable {
    typealias Key = ErasedKey
    typealias Value = ErasedValue

    /// The group's name: part of every key's identity in the store.
    let name: String
    /// The durations and rules that the group was made with.
    let configuration: DistributedGroupConfiguration

    let store: any LeaseStore
    private let terms: FlightTerms
    private let coder: PayloadCoder<Value>
    private let tooLong: StoredOutcome
    /// `nil` if nobody wants to know anything.
    private let observer: GroupObserver?
    private let flights: Group<Key, LocalResolution<Value>>
    /// Coalesces within the process the calls that the store could not be asked about.
    private let localRuns: Group<Key, LocalResolution<Value>>
    /// What would have been coalesced, in a group that only observes.
    private let observed: ObservedFlights?

    /// Makes a group whose values cross processes by `codec`.
    ///
    /// - Parameters:
    ///   - name: 1 to 64 of `A-Za-z0-9._-`. Groups of one name on one store share their flights: give each kind of value its own.
    ///   - store: where the leases are kept.
    ///   - configuration: the durations and rules. Processes that share flights may differ in them: a lease follows its leader's.
    ///   - codec: turns values into bytes and back.
    /// - Throws: ``DistributedGroupError`` of the code ``DistributedGroupError/Code/invalidConfiguration``.
    init(
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
        self.observed =
            switch configuration.mode {
            case .coalesce: nil
            case .observe:
                try ObservedFlights(
                    group: name,
                    store: store,
                    terms: self.terms,
                    metrics: self.observer?.metrics
                )
            }
    }

    /// The number of keys that callers of this process wait for.
    var inFlight: Int { self.flights.inFlight + self.localRuns.inFlight }

    /// What a group that only observes has seen since it was made; nothing in any other.
    var observation: ObservedCalls { self.observed?.calls ?? ObservedCalls() }

    /// The outcome of `key`, with everything that is known of how it came about.
    ///
    /// - Parameters:
    ///   - key: what to compute.
    ///   - limit: how long this caller waits at most. Giving up leaves the flight to the others; if there are none, it ends.
    ///   - unavailable: what this caller gets if the store cannot be asked; `nil` for the group's policy.
    ///   - operation: computes the value, in a task of its own that inherits this caller's task-locals and priority. The task is canceled when the
    ///     lease is lost and when nobody waits any more, here or elsewhere.
    nonisolated(nonsending) func run(
        _ key: Key,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        operation: @escaping @Sendable (Flight<Key>) async throws -> Value
    ) async -> DistributedOutcome<Value> {
        await self.run(
            key,
            waitingAtMost: limit,
            unavailable: unavailable,
            feed: nil,
            operation: operation
        )
    }

    /// The outcome of `key`; meanwhile `onProgress` is told how far the operation is, wherever it runs.
    ///
    /// What is told is as of ``FlightProgressUpdates``. The calls of `onProgress` come one after the other, in a task of their own, all of
    /// them before this method returns.
    ///
    /// - Parameters: as of ``run(_:waitingAtMost:unavailable:operation:)``.
    nonisolated(nonsending) func run(
        _ key: Key,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        onProgress: @escaping @Sendable (FlightProgress) -> Void,
        operation: @escaping @Sendable (Flight<Key>) async throws -> Value
    ) async -> DistributedOutcome<Value> {
        let feed = ProgressFeed()
        async let reading: Void = {
            while let progress = await feed.next() {
                onProgress(progress)
            }
        }()
        let outcome = await self.run(
            key,
            waitingAtMost: limit,
            unavailable: unavailable,
            feed: feed,
            operation: operation
        )
        feed.finish()
        await reading
        return outcome
    }

    nonisolated(nonsending) private func run(
        _ key: Key,
        waitingAtMost limit: Duration?,
        unavailable: UnavailablePolicy?,
        feed: ProgressFeed?,
        operation: @escaping @Sendable (Flight<Key>) async throws -> Value
    ) async -> DistributedOutcome<Value> {
        var caller = self.caller(key, unavailable: unavailable)
        if Task.isCancelled { return caller.end(.canceled(.callerCancelled)) }
        let waitEnd = limit.map { caller.calledAt.advanced(by: $0) }
        if let observed {
            let call = observed.begin(key)
            defer { call.end() }
            let flight = CallObserver.within(caller.call) { self.observe(key, call, operation) }
            if let feed { flight.attach(feed) }
            return caller.end(await self.wait(alone: flight, caller, until: waitEnd))
        }

        let seat: Subscriber<Key, LocalResolution<Value>>
        let flight: LocalFlight
        switch self.flights.entry(key, work: { LocalFlight(key: key, coder: self.coder, isByHand: false) }) {
        case .refused(let error):
            return caller.end(.canceled(.refused(error)))
        case .subscriber(let other, let running):
            (seat, flight) = (other, running)
            CallObserver.within(caller.call) { flight.offer(operation) }
        case .leader(let leader, let own, let started):
            (seat, flight) = (own, started)
            caller.isStarter = true
            let observer = caller.call?.flight()
            let driver = self.driver(for: flight, canTakeOver: true, observer)
            flight.begin(leader, driver, observer)
            CallObserver.within(caller.call) {
                flight.prepare(operation)
                driver.start()
            }
        }
        if let feed { flight.attach(feed) }
        let ended = await self.wait(seat, until: waitEnd)
        if let feed { flight.detach(feed) }
        if case .unavailable = ended.resolution, caller.unavailable == .runLocally {
            return caller.end(
                await self.runLocally(key, caller, until: waitEnd, feed: feed, operation: operation)
            )
        }
        return caller.end(caller.outcome(of: ended))
    }

    nonisolated(nonsending) private func runLocally(
        _ key: Key,
        _ before: LocalCaller,
        until deadline: LeaseInstant?,
        feed: ProgressFeed?,
        operation: @escaping @Sendable (Flight<Key>) async throws -> Value
    ) async -> DistributedOutcome<Value> {
        var caller = before
        caller.isStarter = false
        let seat: Subscriber<Key, LocalResolution<Value>>
        let flight: LocalFlight
        switch self.localRuns.entry(key, work: { LocalFlight(key: key, coder: self.coder, isByHand: false) }) {
        case .refused(let error):
            return .canceled(.refused(error))
        case .subscriber(let other, let running):
            (seat, flight) = (other, running)
        case .leader(let leader, let own, let started):
            (seat, flight) = (own, started)
            caller.isStarter = true
            CallObserver.within(caller.call) { flight.prepare(operation) }
            flight.beginWithoutLease(leader)
            self.limit(flight)
        }
        if let feed { flight.attach(feed) }
        defer { if let feed { flight.detach(feed) } }
        return caller.outcome(of: await self.wait(seat, until: deadline))
    }

    /// No lease ends the run of an operation that hangs: its longest time does.
    private func limit(_ flight: LocalFlight) {
        let clock = self.store.clock
        let timer = clock.schedule(at: clock.now.advanced(by: self.terms.maximumFlight)) { flight.takesTooLong() }
        _ = flight.onEnd { _ in clock.cancel(timer) }
    }

    private func caller(_ key: Key, unavailable: UnavailablePolicy?) -> LocalCaller {
        let calledAt = self.store.clock.now
        return LocalCaller(
            calledAt: calledAt,
            isStarter: false,
            unavailable: unavailable ?? self.configuration.unavailable,
            group: self,
            call: self.observer?.call(key, at: calledAt)
        )
    }

    private func driver(
        for flight: LocalFlight,
        canTakeOver: Bool,
        _ observer: FlightObserver?
    ) -> FlightDriver {
        FlightDriver(
            key: FlightKey(checkedGroup: self.name, bytes: flight.key.flightKeyBytes),
            store: self.store,
            terms: self.terms,
            tooLong: self.tooLong,
            random: .system,
            owner: flight,
            canTakeOver: canTakeOver,
            observer: observer
        )
    }

    /// Waits for a flight's end, until the deadline.
    nonisolated(nonsending) private func wait(
        _ seat: Subscriber<Key, LocalResolution<Value>>,
        until deadline: LeaseInstant?
    ) async -> EndedFlight<Value> {
        let timer = deadline.map { self.store.clock.schedule(at: $0) { seat.leave() } }
        let outcome = await seat.outcome()
        if let timer { self.store.clock.cancel(timer) }
        switch outcome {
        case .complete(let completion):
            switch completion.result {
            case .success(let resolution):
                return EndedFlight(resolution: resolution, isShared: completion.isShared)
            case .failure:
                // Flights complete with a resolution, never with an error of their own.
                return EndedFlight(resolution: .canceled(.leaseLost), isShared: false)
            }
        case .canceled(let reason):
            let local: DistributedCancellation =
                switch reason {
                case .callerCancelled: .callerCancelled
                case .left: .waitLimitReached
                case .refused(let error): .refused(error)
                case .abandoned: .abandoned
                case .leaderLeft, .custom: .leaseLost
                }
            return EndedFlight(resolution: .canceled(local), isShared: false)
        }
    }

    // MARK: - Handles

    /// Joins the flight of `key` that runs, here or elsewhere, or else starts one that the caller brings to its end by hand.
    ///
    /// The store is asked, so the answer can take as long as the store's command timeout, and no longer. It is always one of the two: a caller
    /// that gets no flight is given a subscriber whose outcome says at once why. That is so if the group refuses the caller, if its task is
    /// canceled, if an earlier result is reused, and if the store cannot be asked and the policy is ``UnavailablePolicy/fail``; under
    /// ``UnavailablePolicy/runLocally`` it leads without a lease, or joins whoever does in this process.
    ///
    /// Handles and callers of ``run(_:waitingAtMost:unavailable:operation:)`` join the same flights. Should the leader be lost under
    /// ``LeaderLossPolicy/takeOver(attempts:)``, only a process that has a caller with an operation can take over; where there is
    /// none in time, the flight ends as canceled.
    ///
    /// - Parameters:
    ///   - key: what to compute.
    ///   - unavailable: what this caller gets if the store cannot be asked; `nil` for the group's policy.
    nonisolated(nonsending) func entry(_ key: Key, unavailable: UnavailablePolicy? = nil) async -> EntryCore {
        var caller = self.caller(key, unavailable: unavailable)
        if Task.isCancelled {
            return .subscriber(SubscriberCore(key: key, settled: .canceled(.callerCancelled), caller.call))
        }
        if let observed {
            return .leader(self.observeByHand(key, observed.begin(key), caller))
        }
        switch self.flights.entry(key, work: { LocalFlight(key: key, coder: self.coder, isByHand: true) }) {
        case .refused(let error):
            return .subscriber(SubscriberCore(key: key, settled: .canceled(.refused(error)), caller.call))
        case .subscriber(let seat, let flight):
            return await self.entered(flight, seat, caller)
        case .leader(let leader, let seat, let flight):
            caller.isStarter = true
            let observer = caller.call?.flight()
            let driver = self.driver(for: flight, canTakeOver: false, observer)
            flight.begin(leader, driver, observer)
            driver.start()
            return await self.entered(flight, seat, caller)
        }
    }

    nonisolated(nonsending) private func entered(
        _ flight: LocalFlight,
        _ seat: Subscriber<Key, LocalResolution<Value>>,
        _ caller: LocalCaller
    ) async -> EntryCore {
        switch await flight.decision() {
        case .leads where caller.isStarter:
            return .leader(LeaderCore(flight, seat, caller))
        case .leads, .follows, .reuses, .over(nil):
            return .subscriber(SubscriberCore(flight, seat, caller))
        case .over(.some(let error)):
            guard caller.unavailable == .runLocally else {
                return .subscriber(
                    SubscriberCore(key: flight.key, settled: caller.unavailable(because: error), caller.call)
                )
            }
            return self.entryWithoutLease(flight.key, caller)
        case nil:
            // Canceled: the lease may be granted all the same, and goes back then unless somebody else here can use it.
            if caller.isStarter {
                flight.leaderLeaves()
            }
            seat.leave()
            return .subscriber(
                SubscriberCore(key: flight.key, settled: .canceled(.callerCancelled), caller.call)
            )
        }
    }

    private func entryWithoutLease(_ key: Key, _ before: LocalCaller) -> EntryCore {
        var caller = before
        switch self.localRuns.entry(key, work: { LocalFlight(key: key, coder: self.coder, isByHand: true) }) {
        case .refused(let error):
            return .subscriber(SubscriberCore(key: key, settled: .canceled(.refused(error)), caller.call))
        case .subscriber(let seat, let flight):
            caller.isStarter = false
            return .subscriber(SubscriberCore(flight, seat, caller))
        case .leader(let leader, let seat, let flight):
            caller.isStarter = true
            flight.beginWithoutLease(leader)
            return .leader(LeaderCore(flight, seat, caller))
        }
    }

    // MARK: - Observing

    /// Begins a flight of one caller, without a lease.
    private func observe(
        _ key: Key,
        _ call: ObservedCall,
        _ operation: @escaping @Sendable (Flight<Key>) async throws -> Value
    ) -> LocalFlight {
        let flight = LocalFlight(
            key: key,
            coder: self.coder,
            isByHand: false,
            coordinationWithoutLease: .observed
        )
        flight.prepare { flight in try await call.perform { try await operation(flight) } }
        flight.beginWithoutLease(nil)
        return flight
    }

    private func observeByHand(
        _ key: Key,
        _ call: ObservedCall,
        _ before: LocalCaller
    ) -> LeaderCore {
        var caller = before
        caller.isStarter = true
        let flight = LocalFlight(
            key: key,
            coder: self.coder,
            isByHand: true,
            coordinationWithoutLease: .observed
        )
        flight.beginWithoutLease(nil)
        _ = flight.onEnd { _ in call.end() }
        return LeaderCore(flight, nil, caller)
    }

    /// Waits for the end of a flight that has no other caller, until the deadline.
    nonisolated(nonsending) private func wait(
        alone flight: LocalFlight,
        _ before: LocalCaller,
        until deadline: LeaseInstant?
    ) async -> DistributedOutcome<Value> {
        var caller = before
        caller.isStarter = true
        let ended = SharedValue<EndedFlight<Value>>()
        _ = flight.onEnd { ended.set($0) }
        let timer = deadline.map { deadline in
            self.store.clock.schedule(at: deadline) {
                ended.set(EndedFlight(resolution: .canceled(.waitLimitReached), isShared: false))
                flight.abandon()
            }
        }
        let outcome = await ended.value()
        if let timer { self.store.clock.cancel(timer) }
        guard let outcome else {
            flight.abandon()
            return .canceled(.callerCancelled)
        }
        return caller.outcome(of: outcome)
    }
}
