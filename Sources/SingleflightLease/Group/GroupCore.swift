package import Singleflight

/// A distributed group of whatever keys and values: what is behind every ``DistributedGroup``.
///
/// Not generic, as nothing behind it is: generic code that another module uses, and even the deinitializer of a generic
/// class that is specialized, looks up the metadata of its types as it runs. That was a quarter of a flight's time.
package final class GroupCore: Sendable {
    package typealias Operation = @Sendable @concurrent (Flight<FlightKey>) async throws -> ErasedValue
    /// Makes the work of a call: for the flight that it belongs to, and for what an observing group takes the call for.
    package typealias WorkMaker = (FlightDriver, ObservedCall?) -> any FlightOperation
    /// Makes the observer of a flight of this key and kind.
    package typealias Watch = @Sendable (FlightKey, FlightDriver.Kind) -> any FlightObserving

    /// The durations and rules that the group was made with.
    let configuration: DistributedGroupConfiguration
    package let context: FlightContext
    /// `nil` if nobody wants to know anything.
    let observer: GroupObserver?
    private let flights = FlightIndex()
    /// Coalesces within the process the calls that the store could not be asked about.
    private let localRuns = FlightIndex()
    /// The flights that callers of this process only follow: others lead them, elsewhere.
    private let followed = FlightIndex()
    /// The flights that renew kept results, and that nobody waits for. Calls do not join them: they have the kept result.
    let refreshes = FlightIndex()
    /// What would have been coalesced, in a group that only observes.
    private let observed: ObservedFlights?
    /// Makes the observer of each flight, in a simulation only.
    private let watch: Watch?

    /// - Throws: ``DistributedGroupError`` of the code ``DistributedGroupError/Code/invalidConfiguration``.
    package init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init(),
        codec: ErasedCodec,
        runtime: FlightRuntime = .standard,
        streams: StreamLimits? = nil
    ) throws(DistributedGroupError) {
        guard FlightKey.isName(name) else {
            throw DistributedGroupError(
                .invalidConfiguration,
                "the group name \(name.debugDescription) is not 1 to 64 of A-Z a-z 0-9 . _ -"
            )
        }
        guard !name.hasSuffix(ObservedFlights.suffix) else {
            throw DistributedGroupError(
                .invalidConfiguration,
                "the group name \(name.debugDescription) ends in \(ObservedFlights.suffix), "
                    + "which names what a group learns that observes"
            )
        }
        guard (1...Envelope.maximumNameBytes).contains(codec.identifier.utf8.count) else {
            throw DistributedGroupError(
                .invalidConfiguration,
                "the codec's identifier \(codec.identifier.debugDescription) is not 1 to \(Envelope.maximumNameBytes) bytes"
            )
        }
        guard configuration.results.maximumBytes <= store.maximumPayloadBytes else {
            throw DistributedGroupError(
                .invalidConfiguration,
                """
                results.maximumBytes is \(configuration.results.maximumBytes), more than the \(store.maximumPayloadBytes) that \
                the store takes
                """
            )
        }
        let coder = PayloadCoder(
            codec: codec,
            typedFailures: configuration.results.typedFailures,
            maximumResultBytes: configuration.results.maximumBytes,
            label: store.label
        )
        let terms = try configuration.terms(commandTimeout: store.commandTimeout)
        self.configuration = configuration
        self.context = FlightContext(
            group: name,
            store: store,
            terms: terms,
            coder: coder,
            runtime: runtime,
            maximumWaiters: configuration.limits.waitersPerKey,
            streams: streams.map { StreamTerms(maximumBytes: $0.maximumBytes, window: $0.window, terms) }
        )
        self.observer = GroupObserver(
            group: name,
            clock: store.clock,
            configuration.observability,
            SerialWork(on: runtime),
            hasStreams: streams != nil
        )
        self.observed =
            switch configuration.mode {
            case .coalesce: nil
            case .observe: try ObservedFlights(of: self.context, metrics: self.observer?.metrics)
            }
        self.watch = nil
    }

    /// The group's name: part of every key's identity in the store.
    var name: String { self.context.group }

    /// Whether calls get one another's results; else they are only looked at.
    var isCoalescing: Bool { self.observed == nil }

    /// The number of keys that callers of this process wait for, or that it computes anew.
    package var inFlight: Int { self.flights.count + self.localRuns.count + self.followed.count + self.refreshes.count }

    /// What a group that only observes has seen since it was made; nothing in any other.
    package var observation: ObservedCalls { self.observed?.calls ?? ObservedCalls() }

    package func key(_ key: some FlightKeyConvertible) -> FlightKey {
        FlightKey(checkedGroup: self.context.group, bytes: key.flightKeyBytes)
    }

    /// For simulations, whose terms no configuration allows.
    package init(
        _ context: FlightContext,
        mode: CoalescingMode = .coalesce,
        watch: Watch? = nil
    ) {
        self.configuration = DistributedGroupConfiguration()
        self.context = context
        self.observer = nil
        self.observed = mode == .observe ? ObservedFlights(ofChecked: context, metrics: nil) : nil
        self.watch = watch
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
    ///   - observer: what hears of a flight that the caller starts.
    package func join(
        _ key: FlightKey,
        isByHand: Bool,
        observer: @autoclosure () -> (any FlightObserving)?
    ) -> Entrance {
        self.join(key, self.flights) {
            self.flight(key, .leased(canTakeOver: !isByHand), in: self.flights, isByHand: isByHand, observer())
        }
    }

    /// Joins the run of `key` in this process without a lease, or starts one.
    ///
    /// No lease ends the run of an operation that hangs: its longest time does.
    private func joinLocalRun(_ key: FlightKey, isByHand: Bool) -> Entrance {
        let isEndless = isByHand || Planted.bug("local-run-without-end")
        let kind = FlightDriver.Kind.alone(longest: isEndless ? nil : self.context.terms.maximumFlight, .degraded)
        return self.join(key, self.localRuns) {
            self.flight(key, kind, in: self.localRuns, isByHand: isByHand)
        }
    }

    func flight(
        _ key: FlightKey,
        _ kind: FlightDriver.Kind,
        in index: FlightIndex? = nil,
        isByHand: Bool,
        _ observer: @autoclosure () -> (any FlightObserving)? = nil
    ) -> FlightDriver {
        FlightDriver(
            key,
            kind,
            self.context,
            in: index,
            isByHand: isByHand,
            observer: self.watch?(key, kind) ?? observer()
        )
    }

    private func join(_ key: FlightKey, _ index: FlightIndex, make: () -> FlightDriver) -> Entrance {
        self.entrance(index.enter(key, make: make), key)
    }

    private func entrance(_ entrance: FlightIndex.Entrance, _ key: FlightKey) -> Entrance {
        switch entrance {
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

    /// One more call.
    ///
    /// - Parameter limit: how long it waits at most.
    package func call(_ key: FlightKey, waitingAtMost limit: Duration? = nil, unavailable: UnavailablePolicy?)
        -> GroupCall
    {
        let calledAt = self.context.store.clock.now
        return GroupCall(
            calledAt: calledAt,
            deadline: limit.map { calledAt.advanced(by: $0) },
            unavailable: unavailable ?? self.configuration.unavailable,
            undecodable: self.configuration.results.undecodable,
            store: self.context.store,
            observer: self.observer?.call(key, at: calledAt)
        )
    }

    // MARK: - Calls

    /// The outcome of `key`; meanwhile `feed` is offered how far the operation is.
    func run(
        _ key: FlightKey,
        waitingAtMost limit: Duration?,
        unavailable: UnavailablePolicy?,
        feed: ProgressFeed? = nil,
        stream: (any StreamFeeding)? = nil,
        operation: @escaping Operation
    ) async -> Outcome<ErasedValue> {
        let call = self.call(key, waitingAtMost: limit, unavailable: unavailable)
        if Task.isCancelled { return call.end(.canceled(.callerCanceled)) }
        let path = FlightPath.current
        guard !path.isOutside, self.observed == nil else {
            return await self.run(key, call, feed, stream, operation)
        }
        return await self.waiting(for: key, inside: path, call) { await self.run(key, $0, feed, stream, operation) }
    }

    /// A call from inside of an operation, unless it would wait for itself.
    ///
    /// By itself, so that a call from outside does not have room for it in its frame.
    @inline(never)
    private func waiting(
        for key: FlightKey,
        inside path: FlightPath,
        _ call: GroupCall,
        _ body: (GroupCall) async -> Outcome<ErasedValue>
    ) async -> Outcome<ErasedValue> {
        switch self.context.wait(for: key, on: path) {
        case .success(let wait):
            defer { wait.end() }
            var call = call
            call.enclosed = EnclosedCall(on: path)
            return await body(call)
        case .failure(let error):
            return call.end(.canceled(.refused(error)))
        }
    }

    nonisolated(nonsending) private func run(
        _ key: FlightKey,
        _ call: GroupCall,
        _ feed: ProgressFeed?,
        _ stream: (any StreamFeeding)?,
        _ operation: @escaping Operation
    ) async -> Outcome<ErasedValue> {
        var step = self.admit(key, call) { OperationTask($0, $1, operation) }
        while true {
            switch step {
            case .waits(let wait):
                let timer = wait.begin(feed, stream)
                let awakening = await wait.driver.outcome(of: wait.seat)
                let settled = wait.end(awakening, timer, feed, stream)
                step = self.resumed(wait, settled) { OperationTask($0, $1, operation) }
            case .ended(let outcome):
                return call.end(outcome)
            }
        }
    }

    /// A call joins the flight of `key` with its work, or starts one.
    ///
    /// Not inlined, as ``resumed(_:_:work:)``: a call that waits would have room for it in its task's frame.
    @inline(never)
    package func admit(_ key: FlightKey, _ call: GroupCall, work: WorkMaker) -> CallStep {
        if let observed { return self.admit(key, call, observedBy: observed, work) }
        switch self.join(key, isByHand: false, observer: call.observer?.flight()) {
        case .refused(let error):
            return .ended(.canceled(.refused(error)))
        case .joined(let driver, let seat, let isStarter):
            CallObserver.within(call.observer) {
                if isStarter {
                    driver.begin(work(driver, nil))
                } else {
                    driver.offer { work(driver, nil) }
                }
            }
            return .waits(CallWait(driver, seat, call.starting(isStarter)))
        }
    }

    /// A call whose wait is over is told, or goes on without the store.
    @inline(never)
    package func resumed(_ wait: CallWait, _ settled: Settled, work: WorkMaker) -> CallStep {
        wait.observed?.end()
        guard let localRun = wait.call.localRun(after: settled.settlement) else {
            if settled.isDueForRefresh, !Planted.bug("due-refresh-forgotten") {
                let window = self.context.terms.refreshWindow
                self.refresh(wait.driver.key, unless: .resultKept(atLeast: window), work: work)
            }
            return .ended(wait.call.outcome(of: settled))
        }
        var call = wait.call
        call.localRun = localRun
        switch self.joinLocalRun(wait.driver.key, isByHand: false) {
        case .refused(let error):
            return .ended(.canceled(.refused(error)))
        case .joined(let driver, let seat, let isStarter):
            if isStarter {
                CallObserver.within(call.observer) { driver.begin(work(driver, nil)) }
            }
            return .waits(CallWait(driver, seat, call.starting(isStarter)))
        }
    }

    /// See ``DistributedGroup/follow(_:waitingAtMost:)``.
    func follow(
        _ key: FlightKey,
        waitingAtMost limit: Duration?,
        stream: (any StreamFeeding)? = nil
    ) async -> Outcome<ErasedValue> {
        let call = self.call(key, waitingAtMost: limit, unavailable: .fail)
        if Task.isCancelled { return call.end(.canceled(.callerCanceled)) }
        let path = FlightPath.current
        guard !path.isOutside, self.observed == nil else { return await self.following(key, call, stream) }
        return await self.waiting(for: key, inside: path, call) { await self.following(key, $0, stream) }
    }

    private func following(
        _ key: FlightKey,
        _ call: GroupCall,
        _ stream: (any StreamFeeding)?
    ) async -> Outcome<ErasedValue> {
        switch self.follow(key, call) {
        case .waits(let wait):
            let timer = wait.begin(nil, stream)
            let settled = wait.end(await wait.driver.outcome(of: wait.seat), timer, nil, stream)
            return call.end(wait.call.outcome(of: settled))
        case .ended(let outcome):
            return call.end(outcome)
        }
    }

    /// A call that never leads joins the flight of `key` in this process, or else the one that others lead, if there is
    /// one.
    package func follow(_ key: FlightKey, _ call: GroupCall) -> CallStep {
        // Calls of a group that only observes run by themselves.
        if self.observed != nil { return .ended(.canceled(.noFlight)) }
        switch self.joinToFollow(key, observer: call.observer?.flight()) {
        case .refused(let error):
            return .ended(.canceled(.refused(error)))
        case .joined(let driver, let seat, let isStarter):
            if isStarter { CallObserver.within(call.observer) { driver.begin(nil) } }
            return .waits(CallWait(driver, seat, call))
        }
    }

    private func joinToFollow(_ key: FlightKey, observer: @autoclosure () -> (any FlightObserving)?) -> Entrance {
        if !Planted.bug("onlooker-overlooks-its-own-process"), let joined = self.flights.join(key) {
            return self.entrance(joined, key)
        }
        return self.join(key, self.followed) {
            self.flight(key, .following, in: self.followed, isByHand: false, observer())
        }
    }

    private func admit(
        _ key: FlightKey,
        _ call: GroupCall,
        observedBy observed: ObservedFlights,
        _ work: WorkMaker
    ) -> CallStep {
        let observedCall = observed.begin(key)
        let driver = self.observedFlight(key, isByHand: false)
        CallObserver.within(call.observer) { driver.begin(work(driver, observedCall)) }
        return .waits(CallWait(driver, driver.starterSeat, call.starting(true), observed: observedCall))
    }

    /// A flight of one caller, without a lease.
    private func observedFlight(_ key: FlightKey, isByHand: Bool) -> FlightDriver {
        self.flight(key, .alone(longest: nil, .observed), isByHand: isByHand)
    }

    // MARK: - Handles

    /// See ``DistributedGroup/entry(_:unavailable:)``.
    func entry(_ key: FlightKey, unavailable: UnavailablePolicy? = nil) async -> EntryCore {
        let call = self.call(key, unavailable: unavailable)
        if Task.isCancelled {
            return .settled(.canceled(.callerCanceled), call)
        }
        switch self.enter(key, call) {
        case .undecided(let wait): return self.entered(wait, await wait.driver.decision())
        case .decided(let entry): return entry
        }
    }

    /// What entering comes to at once.
    package enum EntryStep: Sendable {
        /// ``GroupCore/entered(_:_:)`` tells what the caller is, as soon as the store has answered.
        case undecided(CallWait)
        case decided(EntryCore)
    }

    /// A caller that works by hand joins the flight of `key`, or starts one.
    package func enter(_ key: FlightKey, _ call: GroupCall) -> EntryStep {
        let path = FlightPath.current
        if !path.isOutside, self.observed == nil {
            switch self.context.wait(for: key, on: path) {
            // Waiting begins where the outcome is asked for.
            case .success(let wait): wait.end()
            case .failure(let error):
                return .decided(.settled(.canceled(.refused(error)), call))
            }
        }
        if let observed {
            let observedCall = observed.begin(key)
            let driver = self.observedFlight(key, isByHand: true)
            driver.begin(nil)
            _ = driver.onEnd { _ in observedCall.end() }
            return .decided(.leader(LeaderCore(driver, driver.starterSeat, call.starting(true))))
        }
        switch self.join(key, isByHand: true, observer: call.observer?.flight()) {
        case .refused(let error):
            return .decided(.settled(.canceled(.refused(error)), call))
        case .joined(let driver, let seat, let isStarter):
            if isStarter { driver.begin(nil) }
            return .undecided(CallWait(driver, seat, call.starting(isStarter)))
        }
    }

    /// What a caller that works by hand is.
    ///
    /// - Parameter decision: what this process is in the flight; `nil` if the caller's task was canceled before that
    ///   was known.
    package func entered(_ wait: CallWait, _ decision: LocalDecision?) -> EntryCore {
        let (driver, seat, call) = (wait.driver, wait.seat, wait.call)
        switch decision {
        case .leads where call.isStarter || Planted.bug("two-lead-one-flight-by-hand"):
            return .leader(LeaderCore(driver, seat, call))
        case .leads, .follows, .reuses, .over(nil):
            return .subscriber(SubscriberCore(driver, seat, call.starting(false)))
        case .over(.some(let error)):
            driver.leave(seat)
            guard call.unavailable.runsLocally(after: error) else {
                return .settled(call.unavailable(because: error), call)
            }
            return self.entryWithoutLease(driver.key, call)
        case nil:
            // Canceled: the lease may be granted all the same, and goes back then unless another caller here can use
            // it.
            if call.isStarter, !Planted.bug("canceled-entry-leads-on") { driver.leaderLeaves() }
            driver.leave(seat)
            return .settled(.canceled(.callerCanceled), call)
        }
    }

    private func entryWithoutLease(_ key: FlightKey, _ before: GroupCall) -> EntryCore {
        switch self.joinLocalRun(key, isByHand: true) {
        case .refused(let error):
            return .settled(.canceled(.refused(error)), before)
        case .joined(let driver, let seat, let isStarter):
            let call = before.starting(isStarter)
            guard isStarter else { return .subscriber(SubscriberCore(driver, seat, call)) }
            driver.begin(nil)
            return .leader(LeaderCore(driver, seat, call))
        }
    }
}
