import Singleflight
public import SingleflightLease

/// The rules of a lease store as a value without I/O: what each request answers, changes and announces.
///
/// It follows the scripts of docs/protocol.md step by step; a test compares the two. Time comes in with each request.
public struct LeaseModel: Sendable {
    /// An announcement, and whose inbox it goes to.
    public struct Delivery: Hashable, Sendable {
        /// The inbox that it goes to.
        public var inbox: InboxID
        /// The key that it is about.
        public var key: FlightKey
        /// What it says.
        public var announcement: Announcement
    }

    /// How many processes can be registered on one flight; those beyond it learn of its outcome by polling.
    public static let maximumWaiters = 4096

    private struct Lease {
        var token: LeaseToken
        var inbox: InboxID
        var duration: Duration
        var expiry: LeaseInstant
        var grace: Duration
        var attempt: Int
        var note: LeaseNote

        /// When the store forgets even the expired lease.
        var end: LeaseInstant { self.expiry.advanced(by: self.grace) }
    }

    package enum Kept: Hashable {
        case outcome(StoredOutcome)
        case superseded(by: LeaseToken)
    }

    private struct Entry {
        var lease: Lease?
        /// In the order of their registration, so that runs repeat exactly.
        var waiters: [InboxID] = []
        var kept: [LeaseToken: (record: Kept, until: LeaseInstant)] = [:]
        var last: (token: LeaseToken, until: LeaseInstant)?
        var lastFence: UInt64 = 0

        mutating func purge(now: LeaseInstant) {
            if let lease, lease.end <= now {
                self.lease = nil
                self.waiters = []
            }
            self.kept = self.kept.filter { $0.value.until > now }
            if let last, last.until <= now {
                self.last = nil
            }
        }

        /// Why a flight was canceled, if it was, and that is kept.
        func reason(of token: LeaseToken) -> CanceledFlight? {
            guard case .outcome(.canceled(let reason)) = self.kept[token]?.record else { return nil }
            return reason
        }

        mutating func register(_ inbox: InboxID) {
            if !self.waiters.contains(inbox), self.waiters.count < LeaseModel.maximumWaiters {
                self.waiters.append(inbox)
            }
        }
    }

    private var entries: [FlightKey: Entry] = [:]
    private var deliveries: [Delivery] = []

    /// Creates an empty store.
    public init() {}

    /// Takes the announcements that the requests since the last call made, in order.
    public mutating func takeDeliveries() -> [Delivery] {
        defer { self.deliveries = [] }
        return self.deliveries
    }

    /// Loses everything, as a server does that restarts without persistence.
    public mutating func removeAll() {
        self.entries = [:]
    }

    /// Loses what it holds about one key, as an eviction does.
    public mutating func remove(_ key: FlightKey) {
        self.entries[key] = nil
    }

    /// Loses the outcomes of a key: what a server does that announces without storing. For tests of tests.
    package mutating func forgetOutcomes(of key: FlightKey) {
        self.entries[key]?.kept = [:]
    }

    // What a checker of histories needs, who knows only roughly when something ran out, and lets it happen at a time of
    // its own.

    /// What is held about a key, as far as later answers depend on it.
    package struct Summary: Hashable {
        package var token: LeaseToken?
        package var attempt = 0
        package var isLapsed = false
        package var waiters: Set<InboxID> = []
        package var kept: [LeaseToken: Kept] = [:]
        package var last: LeaseToken?
    }

    package func summary(of key: FlightKey, now: LeaseInstant) -> Summary {
        guard let entry = self.entries[key] else { return Summary() }
        return Summary(
            token: entry.lease?.token,
            attempt: entry.lease?.attempt ?? 0,
            isLapsed: entry.lease.map { $0.expiry <= now } ?? false,
            waiters: Set(entry.waiters),
            kept: entry.kept.mapValues(\.record),
            last: entry.last?.token
        )
    }

    package mutating func lapseLease(of key: FlightKey, now: LeaseInstant) {
        self.entries[key]?.lease?.expiry = now
    }

    package mutating func forgetLease(of key: FlightKey) {
        self.entries[key]?.lease = nil
        self.entries[key]?.waiters = []
    }

    package mutating func loseLease(of key: FlightKey) {
        self.entries[key]?.lease = nil
    }

    package mutating func loseWaiters(of key: FlightKey) {
        self.entries[key]?.waiters = []
    }

    package mutating func forgetOutcome(of key: FlightKey, token: LeaseToken) {
        self.entries[key]?.kept[token] = nil
    }

    package mutating func forgetReuse(of key: FlightKey) {
        self.entries[key]?.last = nil
    }

    /// Whether nothing is left: no lease, no waiter, no outcome.
    public mutating func isEmpty(now: LeaseInstant) -> Bool {
        for key in self.entries.keys {
            self.entries[key]?.purge(now: now)
        }
        return self.entries.values.allSatisfy {
            $0.lease == nil && $0.waiters.isEmpty && $0.kept.isEmpty && $0.last == nil
        }
    }

    /// Carries out a request of any kind for the process of `inbox`; a request to lead at `notAfter` at the latest,
    /// `nil` for no limit.
    public mutating func perform(
        _ request: LeaseRequest,
        inbox: InboxID,
        now: LeaseInstant,
        notAfter: LeaseInstant? = nil
    ) -> LeaseReply {
        switch request {
        case .enter(let request): .enter(self.enter(request, inbox: inbox, now: now, notAfter: notAfter))
        case .renew(let request): .renew(self.renew(request, now: now))
        case .complete(let request): .complete(self.complete(request, now: now))
        case .release(let request): .release(self.release(request, now: now))
        case .poll(let request): .poll(self.poll(request, inbox: inbox, now: now))
        case .leave(let request): .leave(self.leave(request.key, token: request.token, inbox: inbox, now: now))
        case .fence(let request): .fence(self.fence(request.key, token: request.token, now: now))
        case .revoke(let request): .revoke(self.revoke(request, now: now))
        case .inspect(let request): .inspect(self.inspect(request.key, now: now))
        }
    }

    /// Leads, follows or finds an outcome: as a store does it, by ``acquire(_:inbox:now:)`` where that will do. It may
    /// be carried out at `notAfter` at the latest; `nil` for no limit.
    public mutating func enter(
        _ request: EnterRequest,
        inbox: InboxID,
        now: LeaseInstant,
        notAfter: LeaseInstant? = nil
    ) -> EnterReply {
        if request.takesFreeLease, self.acquire(request, inbox: inbox, now: now) {
            return .lead(attempt: 0)
        }
        return self.enterIfValid(request, inbox: inbox, now: now, notAfter: notAfter)
    }

    /// Takes a free lease without looking at anything else, also at the time. Whether it did.
    public mutating func acquire(_ request: EnterRequest, inbox: InboxID, now: LeaseInstant) -> Bool {
        self.withEntry(request.key, now: now) { entry, _ in
            guard entry.lease == nil else { return false }
            Self.lead(request, inbox, attempt: 0, &entry, now)
            return true
        }
    }

    /// Leads, follows or finds an outcome, unless it is too late.
    public mutating func enterIfValid(
        _ request: EnterRequest,
        inbox: InboxID,
        now: LeaseInstant,
        notAfter: LeaseInstant?
    ) -> EnterReply {
        self.withEntry(request.key, now: now) { entry, announce in
            if let notAfter, now > notAfter, !Planted.bug("late-request-carried-out") {
                return .late
            }
            if let lease = entry.lease, lease.token == request.token {
                return .lead(attempt: lease.attempt)
            }
            if case .outcome(let outcome) = entry.kept[request.token]?.record, !Planted.bug("repetition-leads-again") {
                return .reuse(request.token, outcome)
            }
            var attempt = 0
            if let lease = entry.lease {
                if lease.expiry > now {
                    entry.register(inbox)
                    return .follow(lease.token, remaining: now.duration(to: lease.expiry))
                }
                switch request.terms.leaderLoss {
                case .takeOver(let attempts) where lease.attempt < attempts || Planted.bug("takeovers-without-end"):
                    attempt = lease.attempt + 1
                    let until = now.advanced(by: request.terms.duration + request.terms.grace + request.terms.retention)
                    if !Planted.bug("takeover-leaves-no-record") {
                        entry.kept[lease.token] = (.superseded(by: request.token), until)
                    }
                case .takeOver, .cancel:
                    let reason: CanceledFlight = lease.attempt > 0 ? .supersededTooOften : .leaseExpired
                    Self.decide(
                        .canceled(reason),
                        of: lease.token,
                        retention: request.terms.retention,
                        &entry,
                        now,
                        announce
                    )
                }
            } else if request.terms.acceptsReuse, let last = entry.last,
                case .outcome(let outcome) = entry.kept[last.token]?.record
            {
                return .reuse(last.token, outcome)
            }
            Self.lead(request, inbox, attempt: attempt, &entry, now)
            return .lead(attempt: attempt)
        }
    }

    private static func lead(
        _ request: EnterRequest,
        _ inbox: InboxID,
        attempt: Int,
        _ entry: inout Entry,
        _ now: LeaseInstant
    ) {
        entry.waiters.removeAll { $0 == inbox || Planted.bug("takeover-drops-the-waiters") }
        entry.lease = Lease(
            token: request.token,
            inbox: inbox,
            duration: request.terms.duration,
            expiry: now.advanced(by: request.terms.duration),
            grace: request.terms.grace,
            attempt: attempt,
            note: request.note
        )
    }

    /// See `RenewRequest`.
    public mutating func renew(_ request: RenewRequest, now: LeaseInstant) -> RenewReply {
        self.withEntry(request.key, now: now) { entry, announce in
            guard var lease = entry.lease, lease.token == request.token else {
                return .lost(reason: entry.reason(of: request.token))
            }
            guard lease.expiry > now || Planted.bug("expired-lease-renewed") else { return .expired }
            lease.duration = request.terms.duration
            let share = Planted.bug("renewal-shortens-the-lease") ? 2 : 1
            lease.expiry = now.advanced(by: request.terms.duration / share)
            lease.grace = request.terms.grace
            lease.note = request.note
            entry.lease = lease
            if let news = request.news {
                for waiter in entry.waiters {
                    announce(waiter, Announcement(token: lease.token, news: .progress(news)))
                }
            }
            return .renewed(waiters: entry.waiters.count)
        }
    }

    /// See `CompleteRequest`.
    public mutating func complete(_ request: CompleteRequest, now: LeaseInstant) -> CompleteReply {
        self.withEntry(request.key, now: now) { entry, announce in
            let isTokenIgnored = Planted.bug("completion-without-token-check")
            guard let lease = entry.lease, lease.token == request.token || isTokenIgnored else {
                switch entry.kept[request.token]?.record {
                case .outcome(.canceled), .superseded:
                    return .stale(current: entry.lease?.token, reason: entry.reason(of: request.token))
                case .outcome: return .duplicate
                case nil: return .unknown(current: entry.lease?.token)
                }
            }
            let waiters = entry.waiters.count
            if waiters > 0 || request.reuse > .zero {
                let retention = max(request.retention, request.reuse)
                Self.decide(request.outcome, of: request.token, retention: retention, &entry, now, announce)
            }
            // Nobody is given an older result than this one.
            entry.last = request.reuse > .zero ? (request.token, now.advanced(by: request.reuse)) : nil
            entry.lease = nil
            return .accepted(waiters: waiters)
        }
    }

    /// See `ReleaseRequest`.
    public mutating func release(_ request: ReleaseRequest, now: LeaseInstant) -> ReleaseReply {
        self.withEntry(request.key, now: now) { entry, announce in
            guard let lease = entry.lease, lease.token == request.token else { return .notHeld }
            let waiters = entry.waiters.count
            guard waiters > 0 else {
                entry.lease = nil
                return .released(waiters: 0)
            }
            switch request.mode {
            case .unlessAwaited where Planted.bug("awaited-flight-released"):
                entry.lease = nil
            case .unlessAwaited:
                return .awaited(waiters: waiters)
            case .cancelWaiters, .giveUp:
                let outcome = StoredOutcome.canceled(request.mode == .giveUp ? .leaderLeft : .leaderShutDown)
                Self.decide(outcome, of: request.token, retention: request.retention, &entry, now, announce)
                entry.lease = nil
            case .handOver:
                entry.lease?.expiry = now
                for waiter in entry.waiters where !Planted.bug("handed-over-without-a-hint") {
                    announce(waiter, Announcement(token: request.token, news: .hint))
                }
            }
            return .released(waiters: waiters)
        }
    }

    /// See `PollRequest`.
    public mutating func poll(_ request: PollRequest, inbox: InboxID, now: LeaseInstant) -> PollReply {
        self.withEntry(request.key, now: now) { entry, announce in
            switch entry.kept[request.token]?.record {
            case .outcome(let outcome): return .done(outcome)
            case .superseded(let token): return .superseded(by: token)
            case nil: break
            }
            guard let lease = entry.lease, lease.token == request.token else { return .gone }
            if lease.expiry > now {
                if !Planted.bug("poll-does-not-register-again") { entry.register(inbox) }
                return .running(remaining: now.duration(to: lease.expiry))
            }
            if case .takeOver(let attempts) = request.leaderLoss, lease.attempt < attempts {
                return .expired
            }
            let outcome = StoredOutcome.canceled(lease.attempt > 0 ? .supersededTooOften : .leaseExpired)
            Self.decide(outcome, of: lease.token, retention: request.retention, &entry, now, announce)
            entry.lease = nil
            return .done(outcome)
        }
    }

    /// See `LeaveRequest`.
    public mutating func leave(_ key: FlightKey, token: LeaseToken, inbox: InboxID, now: LeaseInstant) -> LeaveReply {
        self.withEntry(key, now: now) { entry, announce in
            let before = entry.waiters.count
            entry.waiters.removeAll { $0 == inbox }
            if before > 0, entry.waiters.isEmpty, let lease = entry.lease {
                announce(lease.inbox, Announcement(token: lease.token, news: .unawaited))
            }
            return LeaveReply(waiters: entry.waiters.count)
        }
    }

    /// See `FenceRequest`.
    public mutating func fence(_ key: FlightKey, token: LeaseToken, now: LeaseInstant) -> FenceReply {
        self.withEntry(key, now: now) { entry, _ in
            guard let lease = entry.lease, lease.token == token, lease.expiry > now else { return .lost }
            let microseconds = UInt64(max(now.sinceOrigin / .microseconds(1), 0))
            let next = Planted.bug("fence-goes-back") ? 0 : entry.lastFence + 1
            entry.lastFence = max(next, microseconds)
            return .drawn(Fence(rawValue: entry.lastFence))
        }
    }

    /// See `RevokeRequest`.
    public mutating func revoke(_ request: RevokeRequest, now: LeaseInstant) -> RevokeReply {
        self.withEntry(request.key, now: now) { entry, announce in
            let isAnyMeant = request.token == nil || Planted.bug("revocation-of-whichever-leads")
            guard let lease = entry.lease, isAnyMeant || request.token == lease.token else { return .nothing }
            let waiters = entry.waiters.count
            let outcome = StoredOutcome.canceled(.revoked(by: request.by, reason: request.reason))
            Self.decide(outcome, of: lease.token, retention: request.retention, &entry, now, announce)
            entry.lease = nil
            announce(lease.inbox, Announcement(token: lease.token, news: .outcome(outcome)))
            return .revoked(lease.token, waiters: waiters)
        }
    }

    /// See `InspectRequest`.
    public mutating func inspect(_ key: FlightKey, now: LeaseInstant) -> LeaseInspection {
        self.withEntry(key, now: now) { entry, _ in
            LeaseInspection(
                lease: entry.lease.map { lease in
                    LeaseInspection.Lease(
                        token: lease.token,
                        inbox: lease.inbox,
                        duration: lease.duration,
                        remaining: now.duration(to: lease.expiry),
                        attempt: lease.attempt,
                        note: lease.note
                    )
                },
                waiters: entry.waiters
            )
        }
    }

    // MARK: - Steps

    private typealias Announce = (InboxID, Announcement) -> Void

    private mutating func withEntry<Reply>(
        _ key: FlightKey,
        now: LeaseInstant,
        _ body: (inout Entry, Announce) -> Reply
    ) -> Reply {
        var entry = self.entries[key] ?? Entry()
        entry.purge(now: now)
        var made: [Delivery] = []
        let reply = body(&entry) { inbox, announcement in
            made.append(Delivery(inbox: inbox, key: key, announcement: announcement))
        }
        self.entries[key] = entry
        self.deliveries += made
        return reply
    }

    /// The one place where an outcome is decided: stored first, then announced to everybody who is registered.
    private static func decide(
        _ outcome: StoredOutcome,
        of token: LeaseToken,
        retention: Duration,
        _ entry: inout Entry,
        _ now: LeaseInstant,
        _ announce: Announce
    ) {
        if !Planted.bug("outcome-announced-and-not-stored") {
            entry.kept[token] = (.outcome(outcome), now.advanced(by: retention))
        }
        for waiter in entry.waiters where !Planted.bug("outcome-stored-and-not-announced") {
            announce(waiter, Announcement(token: token, news: .outcome(outcome)))
        }
        entry.waiters = []
    }
}
