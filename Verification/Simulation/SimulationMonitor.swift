import SingleflightLease
import SingleflightTestKit

/// Watches a simulated server from outside, keeps its own account of who leads and who waits, and says when an answer
/// does not agree with it. Then it says which invariant was broken; docs/reliability.md lists them.
///
/// After the server has lost data the account is taken anew from the server, and what can no longer hold is suspended:
/// that is written down beside each check.
final class SimulationMonitor {
    /// What is known of a token that once led.
    struct Led {
        var key: FlightKey
        var inbox: InboxID
        /// Of the process that led.
        var label: String
        /// In true time, as all that follows.
        var askedAt: LeaseInstant
        var grantedAt: LeaseInstant
        /// As long as that after the request, its sender takes care that nobody waits for nothing.
        var caredForUntil: LeaseInstant
        /// The outcome that the store gave out for it; never another (I3).
        var outcome: StoredOutcome?
        /// Whether the store accepted a result under it.
        var isAccepted = false
        /// The true time at which the store ended it or let somebody take over; an expiry that nobody noticed does not
        /// count.
        var endedAt: LeaseInstant?
        var operations = 0
        /// Whether its lease was let expire so that somebody takes over.
        var isHandedOver = false
        /// See `entered`.
        var leadsAgain = false
    }

    private struct Holder {
        var token: LeaseToken
        /// By the server's clock.
        var expiry: LeaseInstant
        /// How long the server remembers it after that. Not told where data was lost: then it counts as zero.
        var grace: Duration
        /// Those of the flight's first leader.
        var retention: Duration
        var leaderLoss: LeaderLossPolicy
        var attempt: Int

        var end: LeaseInstant { self.expiry.advanced(by: self.grace) }
    }

    private struct KeyState {
        var holder: Holder?
        var waiters: [LeaseModel.Registration] = []
        var greatestFence: Fence?
    }

    let scheduler: SimulatedScheduler
    private(set) var violation: SimulationFailure?
    private(set) var leasesGranted = 0
    private(set) var isDataLost = false
    /// Whether a process is connected to its inbox.
    var isHeard: (InboxID) -> Bool = { _ in true }
    /// Called when a lease that ran out is taken from a leader: may it still believe in it? (I15)
    var onExpiredLeaseTaken: (LeaseToken) -> Void = { _ in }
    /// Hears of each lease that is granted or prolonged, and until when by the server's clock.
    var onLease: (FlightKey, LeaseToken, LeaseInstant) -> Void = { _, _, _ in }

    /// The tokens whose leases were given back before anything ran under them.
    private var takenBack: Set<LeaseToken> = []
    /// The tokens of flights that renew a kept result.
    var refreshes: Set<LeaseToken> = []

    private var keys: [FlightKey: KeyState] = [:]
    private var led: [LeaseToken: Led] = [:]
    /// Under which token the operation began that now runs under this one.
    private var origins: [String: String] = [:]
    /// Outcomes that must still be kept, and until when by the server's clock.
    private var kept: [LeaseToken: LeaseInstant] = [:]

    init(scheduler: SimulatedScheduler) {
        self.scheduler = scheduler
    }

    func violate(_ invariant: String, _ message: @autoclosure () -> String) {
        guard self.violation == nil else { return }
        let failure = SimulationFailure(invariant: invariant, message: message(), time: self.scheduler.now)
        self.scheduler.note("VIOLATED \(failure)")
        self.violation = failure
    }

    private func require(_ condition: Bool, _ invariant: String, _ message: @autoclosure () -> String) {
        if !condition { self.violate(invariant, message()) }
    }

    func record(of token: LeaseToken) -> Led? { self.led[token] }

    /// When the lease of the token runs out, or did, by the server's clock; `nil` if nobody holds it any more.
    func expiry(of key: FlightKey, _ token: LeaseToken) -> LeaseInstant? {
        self.keys[key]?.holder.flatMap { $0.token == token ? $0.expiry : nil }
    }

    /// The token that was granted last.
    private(set) var latestToken: LeaseToken?

    /// The true time since which nobody leads under the token; `nil` while somebody does.
    func endedAt(_ token: LeaseToken, serverNow: LeaseInstant) -> LeaseInstant? {
        guard let record = self.led[token] else { return self.scheduler.now }
        if let endedAt = record.endedAt { return endedAt }
        guard let holder = self.keys[record.key]?.holder, holder.token == token else { return self.scheduler.now }
        guard holder.expiry <= serverNow else { return nil }
        return self.scheduler.now.advanced(by: serverNow.duration(to: holder.expiry))
    }

    /// I11, I12: an operation runs under a lease, and once per lease.
    func operationStarted(_ token: LeaseToken, inbox: InboxID) {
        self.require(
            self.led[token]?.inbox == inbox,
            "I12",
            "an operation runs under \(token.short), never granted here"
        )
        self.led[token]?.operations += 1
        self.require(self.led[token]?.operations ?? 0 <= 1, "I11", "two operations ran under \(token.short)")
    }

    /// The operation that ran under the one token goes on under the other.
    func operationMoved(from lost: LeaseToken, to token: LeaseToken, inbox: InboxID) {
        self.operationStarted(token, inbox: inbox)
        self.origins[token.description] = self.run(of: lost.description)
    }

    /// The operation that runs under a token is named for the first token that it ran under.
    func run(of token: String) -> String { self.origins[token] ?? token }

    /// Leases may have run out of a sudden.
    var hasServerClockJumped = false

    /// Whether an operation may go on under the token: both are of one process and one key.
    func mayGoOn(_ run: Substring, under token: String) -> Bool {
        guard let earlier = LeaseToken(String(run)).flatMap({ self.led[$0] }),
            let later = LeaseToken(token).flatMap({ self.led[$0] })
        else { return false }
        return earlier.inbox == later.inbox && earlier.key == later.key
    }

    /// The server lost data: what it says now is what holds now.
    func dataLost(_ server: SimulatedServer, keys: [FlightKey]) {
        self.isDataLost = true
        self.kept = [:]
        for key in keys {
            let inspection = server.inspect(key)
            let summary = server.summary(of: key)
            var state = self.keys[key] ?? KeyState()
            if let holder = state.holder, holder.token != inspection.lease?.token {
                self.end(holder.token)
            }
            state.holder = inspection.lease.map { lease in
                let expiry = server.now.advanced(by: lease.remaining)
                return Holder(
                    token: lease.token,
                    expiry: expiry,
                    grace: .zero,
                    retention: summary.retention,
                    leaderLoss: summary.leaderLoss,
                    attempt: lease.attempt
                )
            }
            if let token = state.holder?.token {
                self.led[token]?.endedAt = nil
            }
            state.waiters = Array(summary.waiters)
            self.keys[key] = state
        }
    }

    // MARK: - The server's answers

    func check(_ exchange: SimulatedExchange) {
        var state = self.keys[exchange.key] ?? KeyState()
        if let holder = state.holder, holder.end <= exchange.time, exchange.before.lease == nil {
            state.holder = nil
            state.waiters = []
        }
        switch exchange.kind {
        case .acquire(let request, let inbox, let isTaken):
            self.require(isTaken == (state.holder == nil), "I1", "a free lease was not granted, or one that is held")
            if isTaken {
                self.entered(request, inbox, .lead(attempt: 0), &state, exchange)
            }
        case .enter(let request, let inbox, let reply, let isAwaited, let dueBy):
            self.checkTime(request, reply, dueBy: dueBy)
            self.entered(request, inbox, reply, isAwaited: isAwaited, &state, exchange)
        case .renew(let request, let reply):
            self.renewed(request, reply, &state, exchange)
        case .complete(let request, let reply):
            self.completed(request, reply, &state, exchange)
        case .release(let request, let inbox, let reply):
            self.released(request, inbox, reply, &state, exchange)
        case .poll(let request, let inbox, let reply):
            self.polled(request, inbox, reply, &state, exchange)
        case .leave(let request, let inbox, let reply):
            self.remove(&state, exchange) { $0.inbox == inbox && $0.flight == request.token }
            self.require(reply.waiters == state.waiters.count, "I9", "leave left \(reply.waiters) waiters")
        case .fence(let token, let reply):
            guard case .drawn(let fence) = reply else { break }
            self.require(
                self.holds(token, state, exchange),
                "I2",
                "a fence was drawn under \(token.short) without a lease"
            )
            if let greatest = state.greatestFence {
                self.require(fence > greatest, "I2", "fence \(fence) was drawn after \(greatest)")
            }
            state.greatestFence = fence
        case .revoke(let request, let reply):
            if case .revoked(let token, _) = reply {
                let isRight = state.holder?.token == token && (request.token == nil || request.token == token)
                self.require(isRight, "I10", "revoking \(request.token?.short ?? "any") ended \(token.short)")
                let reason = CanceledFlight.revoked(by: request.by, reason: request.reason)
                self.decided(.canceled(reason), of: token, &state, exchange)
            }
        case .depend, .inspect:
            break
        }
        self.checkState(state, exchange)
        self.keys[exchange.key] = state
    }

    /// I9: a process that does not hold the lease changes nothing. I8, I12: what the server holds is what the account
    /// says.
    private func checkState(_ state: KeyState, _ exchange: SimulatedExchange) {
        let lease = exchange.after.lease
        self.require(
            lease?.token == state.holder?.token,
            "I9",
            "the lease is held by \(lease?.token.short ?? "nobody"), not by \(state.holder?.token.short ?? "nobody")"
        )
        if let lease, let holder = state.holder {
            let remaining = exchange.time.duration(to: holder.expiry)
            self.require(lease.remaining == remaining, "I9", "the lease lasts \(lease.remaining), not \(remaining)")
        }
        self.require(
            Set(exchange.after.waiters) == Set(state.waiters.map(\.inbox)),
            "I7",
            "\(exchange.after.waiters.count) are registered, not \(state.waiters.count)"
        )
    }

    private func holds(_ token: LeaseToken, _ state: KeyState, _ exchange: SimulatedExchange) -> Bool {
        guard let holder = state.holder else { return false }
        return holder.token == token && holder.expiry > exchange.time
    }

    /// I16: what is carried out too late changes nothing.
    private func checkTime(_ request: EnterRequest, _ reply: EnterReply, dueBy: LeaseInstant?) {
        guard let dueBy, self.scheduler.now > dueBy else { return }
        self.require(reply == .late, "I16", "\(request.token.short) was carried out after its time")
    }

    private func entered(
        _ request: EnterRequest,
        _ inbox: InboxID,
        _ reply: EnterReply,
        isAwaited: Bool = false,
        _ state: inout KeyState,
        _ exchange: SimulatedExchange
    ) {
        switch reply {
        case .lead(let attempt):
            if let holder = state.holder, holder.token == request.token {
                self.require(attempt == holder.attempt, "I1", "a repeated enter counts another attempt")
                return
            }
            self.leasesGranted += 1
            self.latestToken = request.token
            var expectedAttempt = 0
            var lapsed: Holder?
            if let holder = state.holder {
                self.require(
                    holder.expiry <= exchange.time,
                    "I1",
                    "\(request.token.short) leads while \(holder.token.short) holds the lease"
                )
                self.onExpiredLeaseTaken(holder.token)
                if case .takeOver(let attempts) = holder.leaderLoss, holder.attempt < attempts {
                    expectedAttempt = holder.attempt + 1
                    lapsed = holder
                    self.kept[holder.token] = exchange.time.advanced(
                        by: request.terms.duration + request.terms.grace + holder.retention
                    )
                    self.end(holder.token)
                } else {
                    let reason: CanceledFlight = holder.attempt > 0 ? .supersededTooOften : .leaseExpired
                    self.decided(.canceled(reason), of: holder.token, &state, exchange)
                }
            }
            self.require(
                attempt == expectedAttempt,
                "I12",
                "the flight counts \(attempt) takeovers, not \(expectedAttempt)"
            )
            if self.led[request.token] != nil {
                // Suspended where data was lost, and where the server's clock jumped over a lease's whole life. A
                // request that its sender gave up, and sent again, can lead after its repetition has: it is within its
                // time, or took a free lease. No operation runs under that lease.
                let isExcused = exchange.isLate || self.isDataLost || self.hasServerClockJumped
                self.require(isExcused, "I1", "\(request.token.short) leads a second time")
                self.led[request.token]?.leadsAgain = true
                self.led[request.token]?.grantedAt = self.scheduler.now
                self.led[request.token]?.operations = 0
            } else {
                self.led[request.token] = Led(
                    key: request.key,
                    inbox: inbox,
                    label: request.note.label,
                    askedAt: exchange.sentAt,
                    grantedAt: self.scheduler.now,
                    caredForUntil: exchange.sentAt.advanced(by: request.terms.duration)
                )
            }
            self.led[request.token]?.endedAt = nil
            if !isAwaited { state.waiters.removeAll { $0.inbox == inbox } }
            let expiry = exchange.time.advanced(by: request.terms.duration)
            state.holder = Holder(
                token: request.token,
                expiry: expiry,
                grace: request.terms.grace,
                retention: lapsed?.retention ?? request.terms.retention,
                leaderLoss: lapsed?.leaderLoss ?? request.terms.leaderLoss,
                attempt: attempt
            )
            self.onLease(exchange.key, request.token, expiry)
        case .follow(let token, let remaining):
            self.require(self.holds(token, state, exchange), "I1", "told to follow \(token.short), which does not lead")
            let isRight = state.holder.map { exchange.time.duration(to: $0.expiry) == remaining } ?? false
            self.require(isRight, "I7", "told a wrong end of the lease")
            self.register(inbox, for: token, by: request.token, &state)
        case .reuse(let token, let outcome, _):
            self.gaveOut(outcome, of: token)
        case .late:
            break
        }
    }

    private func renewed(
        _ request: RenewRequest,
        _ reply: RenewReply,
        _ state: inout KeyState,
        _ exchange: SimulatedExchange
    ) {
        switch reply {
        case .renewed(let waiters):
            self.require(
                self.holds(request.token, state, exchange),
                "I9",
                "a lease that \(request.token.short) does not hold was renewed"
            )
            if request.isAbandoned { self.strike(&state, exchange) }
            self.require(waiters == state.waiters.count, "I7", "renew counts \(waiters) waiters")
            let expiry = exchange.time.advanced(by: request.terms.duration)
            state.holder?.expiry = expiry
            state.holder?.grace = request.terms.grace
            self.onLease(exchange.key, request.token, expiry)
        case .lost(let reason):
            self.require(
                state.holder?.token != request.token,
                "I9",
                "\(request.token.short) holds the lease that it lost"
            )
            if let reason { self.require(reason, ends: request.token) }
        case .expired:
            let isExpired = state.holder?.token == request.token && !self.holds(request.token, state, exchange)
            self.require(isExpired, "I9", "the lease of \(request.token.short) has not expired")
        }
    }

    private func completed(
        _ request: CompleteRequest,
        _ reply: CompleteReply,
        _ state: inout KeyState,
        _ exchange: SimulatedExchange
    ) {
        let token = request.token
        switch reply {
        case .accepted(let waiters):
            self.require(
                state.holder?.token == token,
                "I9",
                "a result was accepted from \(token.short), which does not lead"
            )
            self.require(waiters == state.waiters.count, "I7", "complete counts \(waiters) waiters")
            self.led[token]?.isAccepted = true
            if case .failure = request.outcome, self.refreshes.contains(token) {
                self.require(
                    request.keepsEarlier && request.reuse == .zero,
                    "I30",
                    "a refresh that failed ended the reuse of the earlier result"
                )
            }
            if waiters > 0 {
                self.decided(request.outcome, of: token, &state, exchange)
            } else {
                self.gaveOut(request.outcome, of: token)
                self.end(token)
                state.holder = nil
            }
        case .duplicate:
            self.require(
                self.led[token]?.isAccepted == true,
                "I6",
                "told that its result stood before, which it did not"
            )
        case .stale, .unknown:
            self.require(state.holder?.token != token, "I6", "the result of the leader was refused")
            if case .stale(_, let reason) = reply {
                if let reason { self.require(reason, ends: token) }
                // Suspended where data was lost: a failover brings a lease back whose flight had ended. And nobody is
                // told what is answered to a request that was given up: another sending of it was accepted before.
                let isWrong = self.led[token]?.isAccepted == true && !self.isDataLost && !exchange.isLate
                self.require(!isWrong, "I6", "told that its result is stale, which was accepted")
            }
        }
    }

    /// I6: a leader that is told why its flight ended is told what was decided.
    private func require(_ reason: CanceledFlight, ends token: LeaseToken) {
        // Suspended where data was lost, and of a token that leads again.
        guard let record = self.led[token], !self.isDataLost, !record.leadsAgain else { return }
        self.require(
            record.outcome == .canceled(reason),
            "I6",
            "told that its flight is \(reason), which was not decided"
        )
    }

    private func released(
        _ request: ReleaseRequest,
        _ inbox: InboxID?,
        _ reply: ReleaseReply,
        _ state: inout KeyState,
        _ exchange: SimulatedExchange
    ) {
        let token = request.token
        switch reply {
        case .released(let waiters):
            self.require(state.holder?.token == token, "I9", "\(token.short) released a lease that it did not hold")
            if request.mode == .unlessAwaited { self.strike(&state, exchange) }
            self.require(waiters == state.waiters.count, "I7", "release counts \(waiters) waiters")
            guard waiters > 0, let holder = state.holder else {
                self.end(token)
                state.holder = nil
                return
            }
            switch request.mode {
            case .unlessAwaited:
                self.violate("I7", "the flight of \(token.short) was dropped although \(waiters) wait")
            case .withdraw where holder.attempt == 0:
                self.requireUnused(token)
                self.requireTold(state.waiters, of: token, exchange)
                self.end(token)
                state.holder = nil
                state.waiters = []
            case .withdraw:
                self.requireUnused(token)
                state.holder?.attempt -= 1
                self.handedOver(token, &state, exchange)
            case .handOver:
                self.handedOver(token, &state, exchange)
            case .giveUp where holder.leaderLoss == .cancel:
                self.decided(.canceled(.leaderLeft), of: token, &state, exchange)
            case .shutDown where holder.leaderLoss == .cancel:
                self.decided(.canceled(.leaderShutDown), of: token, &state, exchange)
            case .giveUp, .shutDown:
                self.handedOver(token, &state, exchange)
            }
        case .awaited(let waiters):
            self.strike(&state, exchange)
            let isRight = state.holder?.token == token && waiters == state.waiters.count && waiters > 0
            self.require(isRight, "I7", "told that \(waiters) wait for \(token.short)")
        case .notHeld:
            self.require(state.holder?.token != token, "I9", "\(token.short) was not let go of its lease")
            if request.mode == .withdraw, let inbox {
                self.remove(&state, exchange) { $0.inbox == inbox && $0.request == token }
            }
        }
    }

    /// I28: what is taken back was never used.
    private func requireUnused(_ token: LeaseToken) {
        self.takenBack.insert(token)
        self.require(self.led[token]?.operations == 0, "I28", "\(token.short) was taken back, and has run")
    }

    private func handedOver(_ token: LeaseToken, _ state: inout KeyState, _ exchange: SimulatedExchange) {
        state.holder?.expiry = exchange.time
        self.led[token]?.isHandedOver = true
        self.requireTold(state.waiters, of: token, exchange)
    }

    private func polled(
        _ request: PollRequest,
        _ inbox: InboxID,
        _ reply: PollReply,
        _ state: inout KeyState,
        _ exchange: SimulatedExchange
    ) {
        let token = request.token
        switch reply {
        case .done(let outcome):
            if state.holder?.token == token, exchange.after.lease?.token != token {
                self.require(
                    !self.holds(token, state, exchange),
                    "I5",
                    "a poll canceled \(token.short) before its expiry"
                )
                self.onExpiredLeaseTaken(token)
                self.decided(outcome, of: token, &state, exchange)
            } else {
                self.gaveOut(outcome, of: token)
            }
        case .running(let remaining):
            self.require(self.holds(token, state, exchange), "I5", "told that \(token.short) leads, which it does not")
            let isRight = state.holder.map { exchange.time.duration(to: $0.expiry) == remaining } ?? false
            self.require(isRight, "I7", "told a wrong end of the lease")
            self.register(inbox, for: token, by: nil, &state)
        case .expired:
            let isExpired = state.holder?.token == token && !self.holds(token, state, exchange)
            self.require(isExpired, "I5", "told that the lease of \(token.short) expired")
        case .superseded(let successor):
            self.require(self.led[successor] != nil, "I1", "\(token.short) was superseded by nobody")
        case .withdrawn:
            // Also if a late sending of the request was granted the lease once more: that is handed back, too. Suspended
            // where data was lost.
            let isOver = self.led[token]?.endedAt != nil || self.takenBack.contains(token) || self.isDataLost
            self.require(isOver, "I28", "told that \(token.short) was given back, which leads")
        case .gone:
            self.require(state.holder?.token != token, "I7", "the leading flight of \(token.short) is gone")
            // Suspended where data was lost.
            let isKept = self.kept[token].map { $0 > exchange.time } ?? false
            self.require(!isKept, "I7", "the outcome of \(token.short) is gone before its time")
        }
    }

    // MARK: - Steps

    private func register(
        _ inbox: InboxID,
        for flight: LeaseToken,
        by request: LeaseToken?,
        _ state: inout KeyState
    ) {
        state.waiters.removeAll { $0.inbox == inbox }
        state.waiters.append(LeaseModel.Registration(inbox: inbox, flight: flight, request: request))
    }

    /// I29: nobody is struck whose process is connected.
    private func strike(_ state: inout KeyState, _ exchange: SimulatedExchange) {
        let left = Set(exchange.after.waiters)
        for waiter in state.waiters where !left.contains(waiter.inbox) {
            self.require(!self.isHeard(waiter.inbox), "I29", "a waiter that is connected was struck")
        }
        // Looked at up to the first that somebody listens for: that one is waited for.
        let isAwaited = exchange.after.waiters.first.map { self.isHeard($0) } ?? true
        self.require(isAwaited, "I29", "work goes on for a waiter that is not connected")
        state.waiters.removeAll { !left.contains($0.inbox) }
    }

    private func remove(
        _ state: inout KeyState,
        _ exchange: SimulatedExchange,
        where isMeant: (LeaseModel.Registration) -> Bool
    ) {
        guard let index = state.waiters.firstIndex(where: isMeant) else { return }
        state.waiters.remove(at: index)
        guard state.waiters.isEmpty, let holder = state.holder else { return }
        let isTold = exchange.deliveries.contains {
            $0.announcement == .init(token: holder.token, news: .unawaited)
        }
        self.require(isTold, "I7", "the leader was not told that nobody waits any more")
    }

    private func end(_ token: LeaseToken) {
        self.led[token]?.endedAt = self.scheduler.now
    }

    private func decided(
        _ outcome: StoredOutcome,
        of token: LeaseToken,
        _ state: inout KeyState,
        _ exchange: SimulatedExchange
    ) {
        self.gaveOut(outcome, of: token)
        self.end(token)
        let retention = state.holder?.token == token ? state.holder?.retention : nil
        self.kept[token] = exchange.time.advanced(by: retention ?? .zero)
        self.requireTold(state.waiters, of: token, exchange)
        state.waiters = []
        if state.holder?.token == token {
            state.holder = nil
        }
    }

    private func requireTold(_ waiters: [LeaseModel.Registration], of token: LeaseToken, _ exchange: SimulatedExchange)
    {
        for waiter in waiters {
            let isTold = exchange.deliveries.contains { $0.inbox == waiter.inbox && $0.announcement.token == token }
            self.require(isTold, "I7", "a waiter of \(token.short) was not told")
        }
    }

    /// Whether a stored value is that of the operation which ran under the token. Flights that are only observed have
    /// none.
    private func isOwn(_ payload: StoredPayload, _ key: FlightKey, _ token: LeaseToken) -> Bool {
        guard key.group == SimulationRun.group else { return payload.body.isEmpty }
        let value = SimulatedCodec.read(payload.body, payload.codec)
        return value.run == self.run(of: token.description) && value.key == SimulationRun.index(of: key)
    }

    /// Whether somebody ended the flight of the token.
    func wasRevoked(_ token: LeaseToken) -> Bool {
        if case .canceled(.revoked) = self.led[token]?.outcome { true } else { false }
    }

    /// I3, I5: what the store once said of a flight's end stands.
    func gaveOut(_ outcome: StoredOutcome, of token: LeaseToken) {
        guard let record = self.led[token] else {
            return self.violate("I3", "\(token.short) never led, and ended as \(outcome.summary)")
        }
        if let earlier = record.outcome {
            // Suspended where data was lost, and with it the outcome that stood, and of a token that leads again.
            let isSame = earlier == outcome || self.isDataLost || record.leadsAgain
            self.require(isSame, "I3", "\(token.short) ended as \(earlier.summary), and as \(outcome.summary)")
        } else if case .value(let payload) = outcome {
            let isOwn = StoredPayload(bytes: payload).map { self.isOwn($0, record.key, token) } ?? false
            self.require(isOwn, "I4", "\(token.short) ended with another flight's value")
        }
        self.led[token]?.outcome = outcome
    }
}
