import SingleflightLease

/// One flight's view of its process's store: passes everything on, and keeps watch over what the flight asks and hears.
///
/// `@unchecked`, because its state has no lock: a simulation runs in one thread, which calls whatever it has scheduled one after
/// the other, and a lock would only hide a part of it that escaped.
final class WatchedStore: LeaseStore, @unchecked Sendable {
    private let store: SimulatedLeaseStore
    private unowned let process: SimulatedProcess
    /// The token whose lease the store said is lost.
    private(set) var lostToken: LeaseToken?
    /// The token that the flight asks to lead under, until it knows whom to follow.
    private var enteringToken: LeaseToken?
    private var isGranted = false
    /// What the flight waits for, and since when.
    private var following: (token: LeaseToken, since: LeaseInstant)?
    /// When the flight last heard that something happened to what it waits for.
    private var hintedAt: LeaseInstant?
    private var resumedAt: LeaseInstant?
    private var isResolved = false
    /// Whether the flight's callers all left.
    var isAbandoned = false
    /// Whether the store was told so.
    private var hasLeft = false

    init(store: SimulatedLeaseStore, process: SimulatedProcess) {
        self.store = store
        self.process = process
    }

    var clock: any LeaseClock { self.store.clock }
    var commandTimeout: Duration { self.store.commandTimeout }
    var inbox: InboxID { self.store.inbox }
    var label: String { self.store.label }

    private var monitor: SimulationMonitor { self.process.simulation.monitor }
    private var now: LeaseInstant { self.process.simulation.scheduler.now }

    /// The flight's callers are told: it waits for nothing any more.
    func flightResolved() {
        self.moveOn()
        self.isResolved = true
    }

    /// I13: whoever waits no longer is to say so.
    func flightEnded() {
        if self.following != nil, self.hasLeft == false, self.isAbandoned {
            self.monitor.violate("I13", "process \(self.process.index) stays registered, and nobody waits")
        }
        self.moveOn()
    }

    func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        self.store.listen(for: key) { event in
            switch event {
            case .resumed:
                self.resumedAt = self.now
            case .announced(let announcement):
                switch announcement.news {
                case .outcome, .hint:
                    if announcement.token == self.following?.token { self.hintedAt = self.now }
                case .unawaited, .progress:
                    break
                }
            case .shuttingDown:
                break
            }
            handler(event)
        }
    }

    func send(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        switch request {
        case .enter(let request):
            self.enter(request, reply: reply)
        case .renew(let renewal):
            self.store.send(request) { answer in
                reply(answer)
                switch answer {
                case .success(.renew(.lost)), .success(.renew(.expired)): self.lostToken = renewal.token
                default: break
                }
                self.process.checkLoss(self)
            }
        case .poll:
            self.store.send(request) { answer in
                // A flight that was granted a lease may still ask how the one it waited for ended.
                if case .success(.poll(.superseded(let token))) = answer, !self.isGranted {
                    self.follow(token)
                }
                reply(answer)
            }
        case .leave:
            self.hasLeft = true
            self.store.send(request, reply: reply)
        case .complete, .release, .fence, .revoke, .inspect:
            self.store.send(request, reply: reply)
        }
    }

    private func enter(_ request: EnterRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        self.moveOn()
        if let token = self.enteringToken, token != request.token {
            self.monitor.violate("I1", "process \(self.process.index) asks to lead again, under another token")
        }
        self.enteringToken = request.token
        self.isGranted = false
        let validUntil = self.clock.now.advanced(by: request.validity)
        self.store.send(.enter(request)) { answer in
            switch answer {
            case .success(.enter(.follow(let token, _))): self.follow(token)
            case .success(.enter(.lead)): self.isGranted = true
            case .success(.enter(.late)) where self.clock.now <= validUntil: self.refusedInTime(request)
            case .success, .failure: break
            }
            reply(answer)
        }
    }

    /// I16: whoever is in time is not refused as late, however clocks differ; one that is set while the request is under way
    /// is made up for. Suspended where they are set more often than that.
    private func refusedInTime(_ request: EnterRequest) {
        guard self.process.machine.clock.isExact, self.process.simulation.serverClockJumps < 2 else { return }
        self.monitor.violate("I16", "process \(self.process.index) is told that it is late, which it is not")
    }

    private func follow(_ token: LeaseToken) {
        self.moveOn()
        // Told after it gave up asking.
        guard !self.isResolved else { return }
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
        // Whoever was told that something happened, or that it may have missed something, asks at once.
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
