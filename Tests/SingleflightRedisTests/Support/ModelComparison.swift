import SingleflightRedis
import SingleflightTestKit
import Synchronization

/// Sends random requests to stores on a real Redis and to a ``LeaseModel``, one after the other, and compares.
///
/// Nothing expires by itself meanwhile: leases last ten minutes, and expire by being handed over. So every answer is
/// determined but for the remaining times, of which only the sign is compared. Its keys are its own, so others can go
/// on beside it.
final class ModelComparison {
    /// What a process heard, in order.
    private final class Heard: Sendable {
        let announcements = Mutex<[FlightKey: [Announcement]]>([:])

        func append(_ event: InboxEvent, about key: FlightKey) {
            guard case .announced(let announcement) = event else { return }
            self.announcements.withLock { $0[key, default: []].append(announcement) }
        }
    }

    private let stores: [RedisLeaseStore]
    private let heard: [Heard]
    private let registrations: [InboxRegistration]
    /// Named for the seed.
    private let group: String
    private let keys: [FlightKey]
    private var model = LeaseModel()
    private var expected: [InboxID: [FlightKey: [Announcement]]] = [:]
    /// The latest tokens of each key: those that a request can be about.
    private var tokens: [FlightKey: [LeaseToken]] = [:]
    private var random: FlightRandom
    private var now = LeaseInstant(sinceOrigin: .seconds(1))

    private static let long = Duration.seconds(600)

    init(stores: [RedisLeaseStore], keyCount: Int, seed: UInt64) async throws {
        for store in stores { try await store.untilSubscribed() }
        let group = "model-\(seed)"
        let keys = try (0..<keyCount).map { try FlightKey(group: group, bytes: Array("key {\($0)} %".utf8)) }
        let heard = stores.map { _ in Heard() }
        self.stores = stores
        self.group = group
        self.keys = keys
        self.heard = heard
        self.random = .seeded(seed)
        self.registrations = zip(stores, heard).flatMap { store, heard in
            keys.map { key in
                let registration = store.listen(for: key) { heard.append($0, about: key) }
                // It only listens: `leave` must not think that somebody waits.
                registration.stopWaiting()
                return registration
            }
        }
    }

    deinit {
        for registration in self.registrations { registration.cancel() }
    }

    /// Sends one request; the difference, if there is one.
    func step() async throws -> String? {
        self.now = self.now.advanced(by: .milliseconds(1))
        let store = self.stores[self.pick(self.stores.count)]
        let key = self.keys[self.pick(self.keys.count)]
        let (request, expected, seen) = try await self.perform(on: store, key)
        for delivery in self.model.takeDeliveries() {
            self.expected[delivery.inbox, default: [:]][delivery.key, default: []].append(delivery.announcement)
        }
        return expected == seen ? nil : "\(request): the model answers \(expected), Redis \(seen)"
    }

    /// Compares what every process heard with what it should have heard, to the last announcement.
    func compareAnnouncements() async throws -> String? {
        for (store, heard) in zip(self.stores, self.heard) {
            try await self.untilHeard(heard, store)
            let (expected, seen) = (self.expected[store.inbox] ?? [:], heard.announcements.withLock { $0 })
            for key in self.keys {
                let (expected, seen) = (expected[key] ?? [], seen[key] ?? [])
                guard expected != seen else { continue }
                let index = zip(expected, seen).prefix { $0 == $1 }.map { _ in }.count
                return "of \(expected.count) announcements to \(store.label) about \(key) \(seen.count) came; "
                    + "the first that differs is number \(index)"
            }
        }
        return nil
    }

    /// Waits for a last announcement. Those to one inbox arrive in order: whatever is not there by then never comes.
    private func untilHeard(_ heard: Heard, _ store: RedisLeaseStore) async throws {
        let key = try FlightKey(group: self.group, bytes: Array("last".utf8))
        let (arrival, continuation) = AsyncStream.makeStream(of: Void.self)
        let registration = store.listen(for: key) { _ in continuation.finish() }
        let terms = LeaseTerms(duration: Self.long, grace: Self.long, retention: Self.long, leaderLoss: .cancel)
        let enter = EnterRequest(
            key: key,
            token: LeaseToken(using: &self.random),
            terms: terms,
            note: LeaseNote(label: store.label),
            validity: .seconds(10)
        )
        _ = try await store.answer(to: enter).get()
        // The leader's own inbox hears of a revocation.
        let revoke = RevokeRequest(key: key, token: nil, by: "test", reason: "")
        _ = try await store.answer(to: revoke).get()
        for await _ in arrival {}
        registration.cancel()
    }

    // MARK: - Requests

    private func perform(on store: RedisLeaseStore, _ key: FlightKey) async throws -> (String, String, String) {
        let (now, inbox) = (self.now, store.inbox)
        // Few takeovers, so that their end is reached.
        let policy: LeaderLossPolicy = self.pick(2) == 0 ? .cancel : .takeOver(attempts: 1 + self.pick(2))
        let terms = LeaseTerms(
            duration: Self.long,
            grace: Self.long,
            retention: Self.long,
            leaderLoss: policy,
            acceptsReuse: self.pick(4) == 0
        )
        switch self.pick(13) {
        case 12:
            return try await self.depend(on: store, key)
        case 0, 1, 2:
            // Now and then the leader's request again, as after a lost reply. No token is ever used for a second
            // flight.
            let current = self.model.inspect(key, now: now).lease?.token
            let repeated = self.pick(5) == 0 ? current : nil
            let token = repeated ?? self.newToken(of: key)
            let note = LeaseNote(label: store.label)
            let request = EnterRequest(key: key, token: token, terms: terms, note: note, validity: .seconds(10))
            // Now and then a flight of the process waits, beside the one that asks.
            let isAwaited = self.pick(3) == 0
            let waiting = (0..<(isAwaited ? 2 : 0)).map { _ in store.listen(for: key) { _ in } }
            defer { for registration in waiting { registration.cancel() } }
            let expected = self.model.enter(request, inbox: inbox, now: now, isAwaited: isAwaited)
            return ("enter", "\(expected.coarse)", "\(try await store.answer(to: request).get().coarse)")
        case 3, 4:
            let reuse: Duration = self.pick(4) == 0 ? Self.long : .zero
            let request = CompleteRequest(
                key: key,
                token: self.token(of: key),
                outcome: self.outcome(),
                reuse: reuse
            )
            let expected = self.model.complete(request, now: now)
            return ("complete", "\(expected)", "\(try await store.answer(to: request).get())")
        case 5:
            let note = LeaseNote(label: store.label, renewals: 1)
            let message = String(repeating: "working ", count: self.pick(20))
            let progress = FlightProgress(fraction: Double(self.pick(100)) / 100, message: message)
            let token = self.token(of: key)
            let lease = self.model.inspect(key, now: now).lease
            // Only the process that leads renews, since a renewal writes its whole record.
            let leader = self.stores.first { $0.inbox == lease?.inbox } ?? store
            let request = RenewRequest(
                key: key,
                token: token,
                terms: terms,
                note: note,
                news: self.pick(2) == 0 ? progress : nil,
                isAbandoned: self.pick(2) == 0
            )
            let expected = self.model.renew(request, now: now)
            return ("renew", "\(expected)", "\(try await leader.answer(to: request).get())")
        case 6, 7:
            let modes: [ReleaseRequest.Mode] = [
                .unlessAwaited, .shutDown, .giveUp, .handOver, .handOver, .withdraw,
            ]
            let mode = modes[self.pick(modes.count)]
            let request = ReleaseRequest(key: key, token: self.token(of: key), mode: mode)
            let expected = self.model.release(request, inbox: inbox, now: now)
            return ("release", "\(expected)", "\(try await store.answer(to: request).get())")
        case 8, 9:
            let request = PollRequest(key: key, token: self.token(of: key), mayEnd: self.pick(4) == 0)
            let expected = self.model.poll(request, inbox: inbox, now: now)
            return ("poll", "\(expected.coarse)", "\(try await store.answer(to: request).get().coarse)")
        case 10:
            let token = self.token(of: key)
            let expected = self.model.leave(key, token: token, inbox: inbox, now: now)
            return ("leave", "\(expected)", "\(try await store.answer(to: LeaveRequest(key: key, token: token)).get())")
        default:
            let token = self.pick(2) == 0 ? nil : self.token(of: key)
            let request = RevokeRequest(key: key, token: token, by: "test", reason: "so\nthere")
            let expected = self.model.revoke(request, now: now)
            return ("revoke", "\(expected)", "\(try await store.answer(to: request).get())")
        }
    }

    /// Flights of some keys wait for that of another.
    private func depend(on store: RedisLeaseStore, _ key: FlightKey) async throws -> (String, String, String) {
        let enclosing = (0...self.pick(2)).map { _ in
            let key = self.keys[self.pick(self.keys.count)]
            return EnclosingFlight(key: key, token: self.token(of: key))
        }
        let request = DependRequest(key: key, token: self.token(of: key), enclosing: enclosing)
        let expected = self.model.depend(request, now: self.now)
        return ("depend", "\(expected)", "\(try await store.answer(to: request).get())")
    }

    private func outcome() -> StoredOutcome {
        let payload = (0..<self.pick(40)).map { _ in UInt8(self.pick(256)) }
        return self.pick(2) == 0 ? .value(payload) : .failure(payload)
    }

    private func newToken(of key: FlightKey) -> LeaseToken {
        let token = LeaseToken(using: &self.random)
        self.tokens[key, default: []].append(token)
        if self.tokens[key, default: []].count > 6 {
            self.tokens[key]?.removeFirst()
        }
        return token
    }

    /// Often the current one: otherwise what takes several requests about it in a row is hardly ever reached.
    private func token(of key: FlightKey) -> LeaseToken {
        if self.pick(2) == 0, let current = self.model.inspect(key, now: self.now).lease?.token { return current }
        return self.tokens[key]?.randomElement(using: &self.random) ?? self.newToken(of: key)
    }

    private func pick(_ count: Int) -> Int {
        Int.random(in: 0..<count, using: &self.random)
    }
}

extension EnterReply {
    /// The reply without what depends on the passing of time.
    fileprivate var coarse: EnterReply {
        switch self {
        case .follow(let token, let remaining):
            .follow(token, remaining: remaining > .zero ? .seconds(1) : .zero)
        case .reuse(let token, let outcome, let freshness?):
            .reuse(token, outcome, Freshness(left: .seconds(1), isLed: freshness.isLed))
        case .lead, .reuse, .late:
            self
        }
    }
}

extension PollReply {
    /// The reply without what depends on the passing of time.
    fileprivate var coarse: PollReply {
        if case .running(let remaining) = self {
            .running(remaining: remaining > .zero ? .seconds(1) : .zero)
        } else {
            self
        }
    }
}
