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

    /// How many flights that a flight waits for are taken note of.
    private static let maximumAwaited = 8

    typealias Awaited = CircleSearch<FlightKey>.Flight
    typealias Announce = (InboxID, Announcement) -> Void

    struct Lease {
        var token: LeaseToken
        var inbox: InboxID
        var duration: Duration
        var expiry: LeaseInstant
        var grace: Duration
        /// The flight's, as what follows: a takeover leaves them as they are.
        var retention: Duration
        var leaderLoss: LeaderLossPolicy
        var attempt: Int
        var note: LeaseNote
        var awaited: [Awaited] = []

        /// When the store forgets even the expired lease.
        var end: LeaseInstant { self.expiry.advanced(by: self.grace) }

        var mayBeTakenOver: Bool {
            guard case .takeOver(let attempts) = self.leaderLoss else { return false }
            return self.attempt < attempts
        }

        /// Why the flight ends if it has expired.
        var lapse: CanceledFlight { self.attempt > 0 ? .supersededTooOften : .leaseExpired }
    }

    /// A process that waits.
    package struct Registration: Hashable, Sendable {
        package var inbox: InboxID
        /// The flight that it waits for, under the token that it knows.
        package var flight: LeaseToken
        /// The request to lead that registered it, if one did.
        package var request: LeaseToken?

        package init(inbox: InboxID, flight: LeaseToken, request: LeaseToken?) {
            self.inbox = inbox
            self.flight = flight
            self.request = request
        }
    }

    package enum Kept: Hashable {
        case outcome(StoredOutcome)
        case superseded(by: LeaseToken)
        case withdrawn
    }

    struct Entry {
        var lease: Lease?
        /// In the order of their registration, so that runs repeat exactly.
        var waiters: [Registration] = []
        var kept: [LeaseToken: (record: Kept, until: LeaseInstant)] = [:]
        var last: (token: LeaseToken, outcome: StoredOutcome, until: LeaseInstant)?
        var lastFence: UInt64 = 0
        var chunks: [LeaseToken: (stored: [[UInt8]], until: LeaseInstant)] = [:]

        mutating func purge(now: LeaseInstant) {
            if let lease, lease.end <= now {
                self.lease = nil
                self.waiters = []
            }
            self.kept = self.kept.filter { $0.value.until > now }
            self.chunks = self.chunks.filter { $0.value.until > now }
            if let last, last.until <= now {
                self.last = nil
            }
        }

        /// Why a flight was canceled, if it was, and that is kept.
        func reason(of token: LeaseToken) -> CanceledFlight? {
            guard case .outcome(.canceled(let reason)) = self.kept[token]?.record else { return nil }
            return reason
        }

        mutating func register(_ inbox: InboxID, for flight: LeaseToken, by request: LeaseToken? = nil) {
            let registration = Registration(inbox: inbox, flight: flight, request: request)
            if let index = self.waiters.firstIndex(where: { $0.inbox == inbox }) {
                self.waiters[index] = registration
            } else if self.waiters.count < LeaseModel.maximumWaiters {
                self.waiters.append(registration)
            }
        }

        /// Strikes those that nobody listens for, up to the first that somebody does; how many.
        mutating func strike(unheard: Set<InboxID>) -> Int {
            let struck = self.waiters.prefix { unheard.contains($0.inbox) }.count
            self.waiters.removeFirst(struck)
            return struck
        }

        /// Takes a registration off, if it is the one that is meant, and tells the leader if it was the last.
        mutating func remove(_ announce: Announce, where isMeant: (Registration) -> Bool) {
            guard let index = self.waiters.firstIndex(where: isMeant) else { return }
            self.waiters.remove(at: index)
            if self.waiters.isEmpty, let lease {
                announce(lease.inbox, Announcement(token: lease.token, news: .unawaited))
            }
        }
    }

    private var entries: [FlightKey: Entry] = [:]
    /// The inboxes that nobody listens to: their processes have died, or cannot be reached.
    private var unheard: Set<InboxID> = []
    private var deliveries: [Delivery] = []

    /// Creates an empty store.
    public init() {}

    /// Takes the announcements that the requests since the last call made, in order.
    public mutating func takeDeliveries() -> [Delivery] {
        defer { self.deliveries = [] }
        return self.deliveries
    }

    /// Whether somebody listens to an inbox, as from the beginning.
    public mutating func setHeard(_ inbox: InboxID, _ isHeard: Bool) {
        if isHeard { self.unheard.remove(inbox) } else { self.unheard.insert(inbox) }
    }

    /// Loses everything, as a server does that restarts without persistence.
    public mutating func removeAll() {
        self.entries = [:]
    }

    /// Loses what it holds about one key, as an eviction does.
    public mutating func remove(_ key: FlightKey) {
        self.entries[key] = nil
    }

    /// Loses the chunks of a key's streams.
    public mutating func removeChunks(of key: FlightKey) {
        self.entries[key]?.chunks = [:]
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
        package var waiters: Set<Registration> = []
        /// The flight's retention, while it is led.
        package var retention = Duration.zero
        package var leaderLoss = LeaderLossPolicy.cancel
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
            retention: entry.lease?.retention ?? .zero,
            leaderLoss: entry.lease?.leaderLoss ?? .cancel,
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

    /// Whether nothing is left: no lease, no waiter, no outcome, no chunk.
    public mutating func isEmpty(now: LeaseInstant) -> Bool {
        for key in self.entries.keys {
            self.entries[key]?.purge(now: now)
        }
        return self.entries.values.allSatisfy {
            $0.lease == nil && $0.waiters.isEmpty && $0.kept.isEmpty && $0.last == nil && $0.chunks.isEmpty
        }
    }

    /// Carries out a request of any kind for the process of `inbox`; a request to lead at `notAfter` at the latest,
    /// `nil` for no limit. A process of which another flight waits for the key (`isAwaited`) stays registered when
    /// this one leads, or is taken back.
    public mutating func perform(
        _ request: LeaseRequest,
        inbox: InboxID,
        now: LeaseInstant,
        notAfter: LeaseInstant? = nil,
        isAwaited: Bool = false
    ) -> LeaseReply {
        switch request {
        case .enter(let request):
            .enter(self.enter(request, inbox: inbox, now: now, notAfter: notAfter, isAwaited: isAwaited))
        case .renew(let request): .renew(self.renew(request, now: now))
        case .complete(let request): .complete(self.complete(request, now: now))
        case .release(let request): .release(self.release(request, inbox: isAwaited ? nil : inbox, now: now))
        case .poll(let request): .poll(self.poll(request, inbox: inbox, now: now))
        case .leave(let request): .leave(self.leave(request.key, token: request.token, inbox: inbox, now: now))
        case .fence(let request): .fence(self.fence(request.key, token: request.token, now: now))
        case .revoke(let request): .revoke(self.revoke(request, now: now))
        case .depend(let request): .depend(self.depend(request, now: now))
        case .inspect(let request): .inspect(self.inspect(request.key, now: now))
        case .append(let request): .append(self.append(request, now: now))
        case .read(let request): .read(self.read(request, now: now))
        }
    }

    /// Leads, follows or finds an outcome: as a store does it, by ``acquire(_:inbox:now:)`` where that will do. It may
    /// be carried out at `notAfter` at the latest; `nil` for no limit.
    public mutating func enter(
        _ request: EnterRequest,
        inbox: InboxID,
        now: LeaseInstant,
        notAfter: LeaseInstant? = nil,
        isAwaited: Bool = false
    ) -> EnterReply {
        if request.takesFreeLease, self.acquire(request, inbox: inbox, now: now) {
            return .lead(attempt: 0)
        }
        return self.enterIfValid(request, inbox: inbox, now: now, notAfter: notAfter, isAwaited: isAwaited)
    }

    /// Takes a free lease without looking at anything else, also at the time. Whether it did.
    public mutating func acquire(_ request: EnterRequest, inbox: InboxID, now: LeaseInstant) -> Bool {
        self.withEntry(request.key, now: now) { entry, _ in
            guard entry.lease == nil else { return false }
            Self.lead(request, inbox, takingOverFrom: nil, isAwaited: false, &entry, now)
            return true
        }
    }

    /// Leads, follows or finds an outcome, unless it is too late.
    public mutating func enterIfValid(
        _ request: EnterRequest,
        inbox: InboxID,
        now: LeaseInstant,
        notAfter: LeaseInstant?,
        isAwaited: Bool = false
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
            if case .withdrawn = entry.kept[request.token]?.record {
                return .late
            }
            if request.terms.acceptsReuse, let last = entry.last {
                let left = now.duration(to: last.until)
                if left >= request.leastLife || Planted.bug("stale-outcome-stops-its-refresh") {
                    let isLed = entry.lease.map { $0.expiry > now } ?? false
                    return .reuse(last.token, last.outcome, Freshness(left: left, isLed: isLed))
                }
            }
            var lapsed: Lease?
            if let lease = entry.lease {
                if lease.expiry > now {
                    entry.register(inbox, for: lease.token, by: request.token)
                    return .follow(lease.token, remaining: now.duration(to: lease.expiry))
                }
                if lease.mayBeTakenOver || Planted.bug("takeovers-without-end") {
                    lapsed = lease
                    let until = now.advanced(by: request.terms.duration + request.terms.grace + lease.retention)
                    if !Planted.bug("takeover-leaves-no-record") {
                        entry.kept[lease.token] = (.superseded(by: request.token), until)
                    }
                } else {
                    Self.decide(.canceled(lease.lapse), of: lease, &entry, now, announce)
                }
            }
            Self.lead(request, inbox, takingOverFrom: lapsed, isAwaited: isAwaited, &entry, now)
            return .lead(attempt: entry.lease?.attempt ?? 0)
        }
    }

    private static func lead(
        _ request: EnterRequest,
        _ inbox: InboxID,
        takingOverFrom lapsed: Lease?,
        isAwaited: Bool,
        _ entry: inout Entry,
        _ now: LeaseInstant
    ) {
        let stays = isAwaited && !Planted.bug("takeover-drops-its-own-onlooker")
        entry.waiters.removeAll { ($0.inbox == inbox && !stays) || Planted.bug("takeover-drops-the-waiters") }
        entry.lease = Lease(
            token: request.token,
            inbox: inbox,
            duration: request.terms.duration,
            expiry: now.advanced(by: request.terms.duration),
            grace: request.terms.grace,
            retention: lapsed?.retention ?? request.terms.retention,
            leaderLoss: lapsed?.leaderLoss ?? request.terms.leaderLoss,
            attempt: lapsed.map { $0.attempt + 1 } ?? 0,
            note: request.note
        )
    }

    /// See `RenewRequest`.
    public mutating func renew(_ request: RenewRequest, now: LeaseInstant) -> RenewReply {
        let unheard = self.unheard
        return self.withEntry(request.key, now: now) { entry, announce in
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
            if request.isAbandoned, !Planted.bug("dead-waiters-count") { _ = entry.strike(unheard: unheard) }
            if let news = request.news {
                for waiter in entry.waiters {
                    announce(waiter.inbox, Announcement(token: lease.token, news: .progress(news)))
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
                case .outcome(.canceled), .superseded, .withdrawn:
                    return .stale(current: entry.lease?.token, reason: entry.reason(of: request.token))
                case .outcome: return .duplicate
                case nil where request.reuse > .zero && entry.last?.token == request.token: return .duplicate
                case nil: return .unknown(current: entry.lease?.token)
                }
            }
            let waiters = entry.waiters.count
            // Nobody is given an older result than this one.
            if request.reuse > .zero {
                entry.last = (request.token, request.outcome, now.advanced(by: request.reuse))
            } else if !request.keepsEarlier {
                entry.last = nil
            }
            if waiters > 0 {
                Self.decide(request.outcome, of: lease, as: request.token, &entry, now, announce)
            }
            entry.lease = nil
            return .accepted(waiters: waiters)
        }
    }

    /// See `ReleaseRequest`. The process that asks has the `inbox`; `nil` if another flight of it waits for the key.
    public mutating func release(_ request: ReleaseRequest, inbox: InboxID?, now: LeaseInstant) -> ReleaseReply {
        let unheard = self.unheard
        return self.withEntry(request.key, now: now) { entry, announce in
            guard let lease = entry.lease, lease.token == request.token else {
                if request.mode == .withdraw, let inbox, entry.lease != nil {
                    entry.remove(announce) { $0.inbox == inbox && $0.request == request.token }
                }
                return .notHeld
            }
            let struck = request.mode == .unlessAwaited ? entry.strike(unheard: unheard) : 0
            let waiters = entry.waiters.count
            if request.mode == .unlessAwaited, waiters > 0, !Planted.bug("awaited-flight-released") {
                return .awaited(waiters: waiters)
            }
            if waiters == 0, struck == 0 {
                entry.lease = nil
                return .released(waiters: 0)
            }
            switch request.mode {
            case .unlessAwaited where Planted.bug("awaited-flight-released"):
                entry.lease = nil
            case .unlessAwaited:
                Self.withdraw(lease, &entry, now, announce)
            case .withdraw where lease.attempt == 0:
                Self.withdraw(lease, &entry, now, announce)
            case .withdraw:
                // As if nobody had taken over.
                entry.lease?.attempt -= 1
                Self.handOver(lease, &entry, now, announce)
            case .handOver:
                Self.handOver(lease, &entry, now, announce)
            case .shutDown, .giveUp:
                if lease.leaderLoss == .cancel {
                    let reason: CanceledFlight = request.mode == .giveUp ? .leaderLeft : .leaderShutDown
                    Self.decide(.canceled(reason), of: lease, &entry, now, announce)
                } else {
                    Self.handOver(lease, &entry, now, announce)
                }
            }
            return .released(waiters: waiters)
        }
    }

    /// The lease expires now, and those who wait are to ask.
    private static func handOver(_ lease: Lease, _ entry: inout Entry, _ now: LeaseInstant, _ announce: Announce) {
        entry.lease?.expiry = now
        for waiter in entry.waiters where !Planted.bug("handed-over-without-a-hint") {
            announce(waiter.inbox, Announcement(token: lease.token, news: .hint))
        }
    }

    /// Nothing ran under the lease: those who wait are to ask, and enter again.
    private static func withdraw(_ lease: Lease, _ entry: inout Entry, _ now: LeaseInstant, _ announce: Announce) {
        entry.kept[lease.token] = (.withdrawn, now.advanced(by: lease.retention))
        for waiter in entry.waiters {
            announce(waiter.inbox, Announcement(token: lease.token, news: .hint))
        }
        entry.lease = nil
        entry.waiters = []
    }

    /// See `PollRequest`.
    public mutating func poll(_ request: PollRequest, inbox: InboxID, now: LeaseInstant) -> PollReply {
        self.withEntry(request.key, now: now) { entry, announce in
            switch entry.kept[request.token]?.record {
            case .outcome(let outcome): return .done(outcome)
            case .superseded(let token): return .superseded(by: token)
            case .withdrawn: return .withdrawn
            case nil: break
            }
            guard let lease = entry.lease, lease.token == request.token else { return .gone }
            if lease.expiry > now {
                if !Planted.bug("poll-does-not-register-again") { entry.register(inbox, for: lease.token) }
                return .running(remaining: now.duration(to: lease.expiry))
            }
            if lease.mayBeTakenOver, !request.mayEnd { return .expired }
            Self.decide(.canceled(lease.lapse), of: lease, &entry, now, announce)
            return .done(.canceled(lease.lapse))
        }
    }

    /// See `LeaveRequest`.
    public mutating func leave(_ key: FlightKey, token: LeaseToken, inbox: InboxID, now: LeaseInstant) -> LeaveReply {
        self.withEntry(key, now: now) { entry, announce in
            entry.remove(announce) { registration in
                registration.inbox == inbox
                    && (registration.flight == token || Planted.bug("leaving-strikes-any-registration"))
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
            Self.decide(outcome, of: lease, &entry, now, announce)
            announce(lease.inbox, Announcement(token: lease.token, news: .outcome(outcome)))
            return .revoked(lease.token, waiters: waiters)
        }
    }

    /// See `DependRequest`.
    public mutating func depend(_ request: DependRequest, now: LeaseInstant) -> DependReply {
        let awaited = Awaited(name: request.key, token: request.token)
        var search = CircleSearch(from: awaited, to: request.enclosing.map(\.token))
        if search.isClosedAtOnce { return .circular(path: ["\(request.key)"]) }
        for flight in request.enclosing {
            self.withEntry(flight.key, now: now) { entry, _ in
                guard var lease = entry.lease, lease.token == flight.token else { return }
                lease.awaited.removeAll { $0 == awaited }
                lease.awaited.append(awaited)
                lease.awaited = lease.awaited.suffix(Self.maximumAwaited)
                entry.lease = lease
            }
        }
        while !search.wanted.isEmpty {
            let awaited = search.wanted.map { flight in
                let lease = self.entries[flight.name]?.lease
                return lease?.token == flight.token ? lease?.awaited ?? [] : []
            }
            if let path = search.learned(awaited) { return .circular(path: path.map { "\($0)" }) }
        }
        return .noted
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
                waiters: entry.waiters.map(\.inbox)
            )
        }
    }

    // MARK: - Steps

    mutating func withEntry<Reply>(
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
    ///
    /// - Parameter token: the flight's, unless the outcome is another's.
    private static func decide(
        _ outcome: StoredOutcome,
        of lease: Lease,
        as token: LeaseToken? = nil,
        _ entry: inout Entry,
        _ now: LeaseInstant,
        _ announce: Announce
    ) {
        let token = token ?? lease.token
        if !Planted.bug("outcome-announced-and-not-stored") {
            entry.kept[token] = (.outcome(outcome), now.advanced(by: lease.retention))
        }
        for waiter in entry.waiters where !Planted.bug("outcome-stored-and-not-announced") {
            announce(waiter.inbox, Announcement(token: token, news: .outcome(outcome)))
        }
        entry.lease = nil
        entry.waiters = []
    }
}
