import Singleflight
import Synchronization

/// Flights that nobody waits for: they renew a result that is kept for reuse.
extension GroupCore {
    /// Starts a flight of `key`, unless it runs already, here or elsewhere. Returns at once.
    ///
    /// - Parameter refresh: what makes it needless beside that.
    package func refresh(_ key: FlightKey, unless refresh: FlightDriver.Refresh, work: WorkMaker) {
        guard self.isCoalescing else { return }
        let observer = self.observer?.refresh(key, at: self.context.store.clock.now)
        let kind = FlightDriver.Kind.leased(canTakeOver: false, refresh: refresh)
        let entrance = self.refreshes.enter(key) {
            self.flight(key, kind, in: self.refreshes, isByHand: false, observer?.flight())
        }
        switch entrance {
        case .started(let driver):
            _ = driver.onEnd { [weak driver] settled in observer?.refreshed(driver?.decided, settled) }
            // The work is part of no other flight's: nobody waits for it.
            FlightPath.local.withValue(.outside) { driver.begin(work(driver, nil)) }
        case .joined(let driver, let seat):
            driver.leave(seat)
        case .full, .reentrant:
            break
        }
    }

    /// See ``DistributedGroup/refresh(_:operation:)``.
    func refresh(_ key: FlightKey, operation: @escaping Operation) {
        self.refresh(key, unless: .nothing) { OperationTask($0, $1, operation) }
    }
}

extension FlightDriver {
    /// What this process is in the flight, if that is known.
    fileprivate var decided: LocalDecision? { self.state.withLock { $0.decision } }
}

extension CallObserver {
    /// A refresh has ended.
    fileprivate func refreshed(_ decision: LocalDecision?, _ settled: Settled) {
        self.refreshed(RefreshResult(decision, settled.settlement))
    }
}

extension RefreshResult {
    fileprivate init(_ decision: LocalDecision?, _ settlement: Settlement) {
        switch (decision, settlement) {
        case (.follows, _), (.reuses, _): self = .needless
        case (_, .unavailable): self = .unavailable
        case (_, .canceled): self = .canceled
        case (_, .finished(let flight)):
            switch flight.result {
            case .success: self = .value
            case .failure: self = .failure
            }
        }
    }
}
