import SingleflightLease

/// Keeps watch over what one flight asks and hears: whether it learns in time what it waits for.
final class FlightWatch {
    private unowned let process: SimulatedProcess
    /// The token that the flight asks to lead under, until it knows whom to follow.
    private var enteringToken: LeaseToken?
    private var enteringSince = LeaseInstant(sinceOrigin: .zero)
    private var enterValidUntil: LeaseInstant?
    private var isGranted = false
    /// What the flight waits for, and since when.
    private var following: (token: LeaseToken, since: LeaseInstant)?
    /// When the flight last heard that something happened to what it waits for.
    private var hintedAt: LeaseInstant?
    private var resumedAt: LeaseInstant?
    private var isTold = false
    /// Whether the flight's callers all left.
    var isAbandoned = false

    init(process: SimulatedProcess) {
        self.process = process
    }

    private var monitor: SimulationMonitor { self.process.simulation.monitor }
    private var now: LeaseInstant { self.process.simulation.scheduler.now }

    func saw(_ event: FlightEvent) {
        switch event {
        case .heard(.resumed):
            self.resumedAt = self.now
        case .heard(.announced(let announcement)):
            switch announcement.news {
            case .outcome, .hint:
                if announcement.token == self.following?.token { self.hintedAt = self.now }
            case .unawaited, .progress, .chunk:
                break
            }
        case .replied(.success(.enter(let reply)), _):
            switch reply {
            case .follow(let token, _): self.follow(token)
            case .lead:
                self.isGranted = true
                self.enteringToken = nil
            case .late: self.refusedAsLate()
            case .reuse: break
            }
        case .replied(.success(.poll(.superseded(let token))), _):
            // A flight that was granted a lease may still ask how the one it waited for ended; one that has left hears
            // of it too late to follow.
            if !self.isGranted, !self.isAbandoned { self.follow(token) }
        case .replied(.success(.poll(.gone)), to: .poll(let token, _)):
            // It learned that nothing is to be learned.
            if token == self.following?.token { self.moveOn() }
        case .start, .heard(.interrupted), .heard(.shuttingDown), .replied, .timer, .operationEnded, .progressed,
            .leaderLeft, .offered,
            .abandoned:
            break
        }
    }

    func sends(_ request: FlightRequest) {
        switch request {
        case .enter(let token, _, let until):
            self.moveOn()
            if self.enteringToken != token {
                let now = self.process.store.clock.now
                // Once the lease that the first sending may have been granted is over, its token is used up.
                let isOver = now >= self.enteringSince.advanced(by: self.process.simulation.plan.lease.duration * 0.9)
                if self.enteringToken != nil, !isOver {
                    self.monitor.violate("I1", "process \(self.process.index) asks to lead again, under another token")
                }
                self.enteringSince = now
            }
            self.enteringToken = token
            self.enterValidUntil = until
            self.isGranted = false
        case .look, .poll, .leave, .renew, .complete, .release, .revoke:
            break
        }
    }

    /// The flight learned in time that the leader is lost, and waits for others to take over: it has nothing to run.
    func leftToOthers() {
        self.hintedAt = nil
        self.resumedAt = nil
    }

    /// The flight's callers are told: it waits for nothing any more.
    func told() {
        self.moveOn()
        self.isTold = true
    }

    /// I13: a process that waits no longer is to say so. Suspended where data was lost: a flight that had been taken over
    /// may lead again then, and the process waits for that one.
    func ended() {
        if let token = self.following?.token, self.isAbandoned, !self.process.store.leftFlights.contains(token),
            !self.monitor.isDataLost
        {
            self.monitor.violate("I13", "process \(self.process.index) stays registered, and nobody waits")
        }
        self.moveOn()
    }

    /// I16: a request that is in time is not refused as late, however clocks differ; a clock that is set while the
    /// request is under way is made up for. Suspended where clocks are set more often than that.
    private func refusedAsLate() {
        guard let until = self.enterValidUntil, self.process.store.clock.now <= until,
            self.process.machine.clock.isExact, self.process.simulation.serverClockJumps < 2
        else { return }
        self.monitor.violate("I16", "process \(self.process.index) is told that it is late, which it is not")
    }

    private func follow(_ token: LeaseToken) {
        self.moveOn()
        // Told after it gave up asking.
        guard !self.isTold else { return }
        self.enteringToken = nil
        self.following = (token, self.now)
    }

    /// I7: the flight no longer waits for what it waited for. Did it learn of its end in time?
    private func moveOn() {
        let hintedAt = self.hintedAt.take()
        guard let (token, since) = self.following.take(), !self.isAbandoned else { return }
        let simulation = self.process.simulation
        guard let endedAt = simulation.monitor.endedAt(token, serverNow: simulation.server.now) else { return }
        let terms = self.process.terms
        let slowness = 1 / min(self.process.rate, 1)
        let jitter = min(.milliseconds(500), terms.lease.duration / 10)
        let start = max(endedAt, since, self.process.machine.disturbedUntil)
        var limit = terms.lease.duration + terms.lease.grace + jitter + terms.commandTimeout * 2
        // A flight that was told that something happened, or that it may have missed something, asks at once.
        if let hintedAt, hintedAt >= start {
            limit = min(limit, start.duration(to: hintedAt) + terms.commandTimeout * 2)
        }
        if let resumedAt, resumedAt >= endedAt, simulation.monitor.record(of: token)?.endedAt != nil {
            let heardAt = max(resumedAt, start)
            limit = min(limit, start.duration(to: heardAt) + .milliseconds(50) + terms.commandTimeout * 2)
        }
        let waited = start.duration(to: self.now)
        if waited > limit * slowness {
            self.monitor.violate("I7", "process \(self.process.index) waited \(waited) for the end of \(token.short)")
        }
    }
}
