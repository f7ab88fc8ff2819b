package import Singleflight

/// A distributed group of whatever keys and values: what is behind every ``DistributedGroup``.
///
/// Not generic, as nothing behind it is: generic code that another module uses, and even the deinitializer of a generic
/// class that is specialized, looks up the metadata of its types as it runs. That was a quarter of a flight's time.
package final class GroupCore: Sendable {
    package typealias Operation = @Sendable (Flight<FlightKey>) async throws -> ErasedValue

    /// The durations and rules that the group was made with.
    let configuration: DistributedGroupConfiguration
    let context: FlightContext
    /// `nil` if nobody wants to know anything.
    private let observer: GroupObserver?
    private let flights = FlightIndex()
    /// Coalesces within the process the calls that the store could not be asked about.
    private let localRuns = FlightIndex()
    /// What would have been coalesced, in a group that only observes.
    private let observed: ObservedFlights?

    /// - Throws: ``DistributedGroupError`` of the code ``DistributedGroupError/Code/invalidConfiguration``.
    package init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init(),
        codec: ErasedCodec,
        runtime: FlightRuntime = .standard
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
        guard configuration.maximumResultBytes <= store.maximumPayloadBytes else {
            throw DistributedGroupError(
                .invalidConfiguration,
                """
                maximumResultBytes is \(configuration.maximumResultBytes), more than the \(store.maximumPayloadBytes) that \
                the store takes
                """
            )
        }
        let coder = PayloadCoder(
            codec: codec,
            typedFailures: configuration.typedFailures,
            maximumResultBytes: configuration.maximumResultBytes,
            label: store.label
        )
        self.configuration = configuration
        self.context = FlightContext(
            group: name,
            store: store,
            terms: try configuration.terms(commandTimeout: store.commandTimeout),
            coder: coder,
            runtime: runtime,
            maximumWaiters: configuration.maximumWaitersPerKey
        )
        self.observer = GroupObserver(
            group: name,
            clock: store.clock,
            configuration.observability,
            SerialWork(on: runtime)
        )
        self.observed =
            switch configuration.mode {
            case .coalesce: nil
            case .observe: try ObservedFlights(of: self.context, metrics: self.observer?.metrics)
            }
    }

    /// The group's name: part of every key's identity in the store.
    var name: String { self.context.group }

    /// The number of keys that callers of this process wait for.
    package var inFlight: Int { self.flights.count + self.localRuns.count }

    /// What a group that only observes has seen since it was made; nothing in any other.
    var observation: ObservedCalls { self.observed?.calls ?? ObservedCalls() }

    func key(_ key: some FlightKeyConvertible) -> FlightKey {
        FlightKey(checkedGroup: self.context.group, bytes: key.flightKeyBytes)
    }

    /// For simulations, whose terms no configuration allows.
    package init(_ context: FlightContext) {
        self.configuration = DistributedGroupConfiguration()
        self.context = context
        self.observer = nil
        self.observed = nil
    }

    // MARK: - Flights

    /// What joining a flight comes to.
    package enum Entrance: Sendable {
        /// - Parameter isStarter: whether the caller must begin the flight.
        case joined(FlightDriver, SeatID, isStarter: Bool)
        case refused(GroupError)
    }

    /// Joins the flight of `key`, or starts one.
    ///
    /// - Parameters:
    ///   - isByHand: whether the caller brings a flight that it starts to its end by hand.
    ///   - observer: who hears of a flight that the caller starts.
    package func join(
        _ key: FlightKey,
        isByHand: Bool,
        observer: @autoclosure () -> (any FlightObserving)?
    ) -> Entrance {
        self.join(key, self.flights) {
            FlightDriver(
                key,
                .leased(canTakeOver: !isByHand),
                self.context,
                in: self.flights,
                isByHand: isByHand,
                observer: observer()
            )
        }
    }

    /// Joins the run of `key` in this process without a lease, or starts one.
    ///
    /// No lease ends the run of an operation that hangs: its longest time does.
    private func joinLocalRun(_ key: FlightKey, isByHand: Bool) -> Entrance {
        self.join(key, self.localRuns) {
            FlightDriver(
                key,
                .alone(longest: isByHand ? nil : self.context.terms.maximumFlight, .degraded),
                self.context,
                in: self.localRuns,
                isByHand: isByHand
            )
        }
    }

    private func join(_ key: FlightKey, _ index: FlightIndex, make: () -> FlightDriver) -> Entrance {
        switch index.enter(key, make: make) {
        case .started(let driver):
            return .joined(driver, driver.starterSeat, isStarter: true)
        case .joined(let driver, let seat):
            return .joined(driver, seat, isStarter: false)
        case .full:
            return .refused(GroupError(.tooManyWaiters, key: key.text, limit: self.context.maximumWaiters))
        case .reentrant:
            return .refused(GroupError(.reentrantCall, key: key.text))
        }
    }

    private func call(_ key: FlightKey, unavailable: UnavailablePolicy?) -> GroupCall {
        let calledAt = self.context.store.clock.now
        return GroupCall(
            calledAt: calledAt,
            unavailable: unavailable ?? self.configuration.unavailable,
            store: self.context.store,
            observer: self.observer?.call(key, at: calledAt)
        )
    }

    /// The task of a caller's operation, which hands its result to the flight.
    private func operation(_ driver: FlightDriver, _ body: @escaping Operation) -> OperationTask {
        OperationTask { token in
            let flight = Flight(key: driver.key, token: token, driver: driver)
            let result: Result<ErasedValue, any Error>
            do {
                result = .success(try await driver.perform { try await body(flight) })
            } catch {
                result = .failure(error)
            }
            await driver.handIn(fromTask: result)
        }
    }

    // MARK: - Calls

    /// The outcome of `key`; meanwhile `feed` is offered how far the operation is.
    nonisolated(nonsending) func run(
        _ key: FlightKey,
        waitingAtMost limit: Duration?,
        unavailable: UnavailablePolicy?,
        feed: ProgressFeed? = nil,
        operation: @escaping Operation
    ) async -> Outcome<ErasedValue> {
        var call = self.call(key, unavailable: unavailable)
        if Task.isCancelled { return call.end(.canceled(.callerCanceled)) }
        let deadline = limit.map { call.calledAt.advanced(by: $0) }
        if let observed { return await self.run(key, observedBy: observed, call, until: deadline, feed, operation) }
        switch self.join(key, isByHand: false, observer: call.observer?.flight()) {
        case .refused(let error):
            return call.end(.canceled(.refused(error)))
        case .joined(let driver, let seat, let isStarter):
            call.isStarter = isStarter
            CallObserver.within(call.observer) {
                if isStarter {
                    driver.begin(self.operation(driver, operation))
                } else {
                    driver.offer { self.operation(driver, operation) }
                }
            }
            let settled = await self.outcome(of: driver, seat, until: deadline, feed)
            if case .unavailable(let error) = settled.settlement, call.unavailable.runsLocally(after: error) {
                return call.end(await self.runLocally(key, call, until: deadline, feed, operation))
            }
            return call.end(call.outcome(of: settled))
        }
    }

    nonisolated(nonsending) private func runLocally(
        _ key: FlightKey,
        _ before: GroupCall,
        until deadline: LeaseInstant?,
        _ feed: ProgressFeed?,
        _ operation: @escaping Operation
    ) async -> Outcome<ErasedValue> {
        switch self.joinLocalRun(key, isByHand: false) {
        case .refused(let error):
            return .canceled(.refused(error))
        case .joined(let driver, let seat, let isStarter):
            var call = before
            call.isStarter = isStarter
            if isStarter {
                CallObserver.within(call.observer) { driver.begin(self.operation(driver, operation)) }
            }
            return call.outcome(of: await self.outcome(of: driver, seat, until: deadline, feed))
        }
    }

    nonisolated(nonsending) private func run(
        _ key: FlightKey,
        observedBy observed: ObservedFlights,
        _ before: GroupCall,
        until deadline: LeaseInstant?,
        _ feed: ProgressFeed?,
        _ operation: @escaping Operation
    ) async -> Outcome<ErasedValue> {
        var call = before
        call.isStarter = true
        let observedCall = observed.begin(key)
        defer { observedCall.end() }
        let driver = self.observedFlight(key, isByHand: false)
        CallObserver.within(call.observer) {
            driver.begin(
                self.operation(driver) { flight in try await observedCall.perform { try await operation(flight) } }
            )
        }
        return call.end(call.outcome(of: await self.outcome(of: driver, driver.starterSeat, until: deadline, feed)))
    }

    /// A flight of one caller, without a lease.
    private func observedFlight(_ key: FlightKey, isByHand: Bool) -> FlightDriver {
        FlightDriver(key, .alone(longest: nil, .observed), self.context, isByHand: isByHand)
    }

    /// Waits for a flight's end, until the deadline.
    nonisolated(nonsending) private func outcome(
        of driver: FlightDriver,
        _ seat: SeatID,
        until deadline: LeaseInstant?,
        _ feed: ProgressFeed?
    ) async -> Settled {
        if let feed { driver.attach(feed) }
        let clock = self.context.store.clock
        let timer = deadline.map { clock.schedule(at: $0) { driver.leave(seat) } }
        let awakening = await driver.outcome(of: seat)
        if let timer { clock.cancel(timer) }
        if let feed { driver.detach(feed) }
        switch awakening {
        case .settled(let settled): return settled
        case .left, .decode: return Settled(settlement: .canceled(.waitLimitReached), isShared: false)
        case .canceled: return Settled(settlement: .canceled(.callerCanceled), isShared: false)
        }
    }

    // MARK: - Handles

    /// See ``DistributedGroup/entry(_:unavailable:)``.
    nonisolated(nonsending) func entry(_ key: FlightKey, unavailable: UnavailablePolicy? = nil) async -> EntryCore {
        var call = self.call(key, unavailable: unavailable)
        if Task.isCancelled {
            return .subscriber(SubscriberCore(key: key, settled: .canceled(.callerCanceled), call.observer))
        }
        if let observed {
            call.isStarter = true
            let observedCall = observed.begin(key)
            let driver = self.observedFlight(key, isByHand: true)
            driver.begin(nil)
            _ = driver.onEnd { _ in observedCall.end() }
            return .leader(LeaderCore(driver, driver.starterSeat, call))
        }
        switch self.join(key, isByHand: true, observer: call.observer?.flight()) {
        case .refused(let error):
            return .subscriber(SubscriberCore(key: key, settled: .canceled(.refused(error)), call.observer))
        case .joined(let driver, let seat, let isStarter):
            call.isStarter = isStarter
            if isStarter { driver.begin(nil) }
            return await self.entered(driver, seat, call)
        }
    }

    nonisolated(nonsending) private func entered(
        _ driver: FlightDriver,
        _ seat: SeatID,
        _ call: GroupCall
    ) async -> EntryCore {
        switch await driver.decision() {
        case .leads where call.isStarter:
            return .leader(LeaderCore(driver, seat, call))
        case .leads, .follows, .reuses, .over(nil):
            return .subscriber(SubscriberCore(driver, seat, call))
        case .over(.some(let error)):
            driver.leave(seat)
            guard call.unavailable.runsLocally(after: error) else {
                let outcome = call.unavailable(because: error)
                return .subscriber(SubscriberCore(key: driver.key, settled: outcome, call.observer))
            }
            return self.entryWithoutLease(driver.key, call)
        case nil:
            // Canceled: the lease may be granted all the same, and goes back then unless another caller here can use it.
            if call.isStarter { driver.leaderLeaves() }
            driver.leave(seat)
            return .subscriber(SubscriberCore(key: driver.key, settled: .canceled(.callerCanceled), call.observer))
        }
    }

    private func entryWithoutLease(_ key: FlightKey, _ before: GroupCall) -> EntryCore {
        var call = before
        switch self.joinLocalRun(key, isByHand: true) {
        case .refused(let error):
            return .subscriber(SubscriberCore(key: key, settled: .canceled(.refused(error)), call.observer))
        case .joined(let driver, let seat, let isStarter):
            call.isStarter = isStarter
            guard isStarter else { return .subscriber(SubscriberCore(driver, seat, call)) }
            driver.begin(nil)
            return .leader(LeaderCore(driver, seat, call))
        }
    }
}
