import SingleflightLease
import Synchronization

/// A process of a conformance run: a store's requests as `async` functions on the run's key.
struct ConformanceProcess: Sendable {
    let store: any LeaseStore
    var key: FlightKey

    func on(_ key: FlightKey) -> ConformanceProcess {
        ConformanceProcess(store: self.store, key: key)
    }

    func listen() -> ConformanceListener {
        ConformanceListener(self.store, self.key)
    }

    func enter(
        _ token: LeaseToken,
        _ terms: LeaseTerms = .long(),
        validity: Duration? = nil,
        isRepetition: Bool = false,
        leastLife: Duration = .zero
    ) async throws -> EnterReply {
        let request = EnterRequest(
            key: self.key,
            token: token,
            terms: terms,
            note: LeaseNote(label: self.store.label),
            validity: validity ?? self.store.commandTimeout,
            isRepetition: isRepetition,
            leastLife: leastLife
        )
        return try await self.store.answer(to: request).get()
    }

    func renew(
        _ token: LeaseToken,
        _ terms: LeaseTerms = .long(),
        note: LeaseNote? = nil,
        news: FlightProgress? = nil,
        isAbandoned: Bool = false
    ) async throws -> RenewReply {
        let request = RenewRequest(
            key: self.key,
            token: token,
            terms: terms,
            note: note ?? LeaseNote(label: self.store.label, renewals: 1),
            news: news,
            isAbandoned: isAbandoned
        )
        return try await self.store.answer(to: request).get()
    }

    func complete(
        _ token: LeaseToken,
        _ outcome: StoredOutcome,
        reuse: Duration = .zero,
        keepsEarlier: Bool = false
    ) async throws -> CompleteReply {
        let request = CompleteRequest(
            key: self.key,
            token: token,
            outcome: outcome,
            reuse: reuse,
            keepsEarlier: keepsEarlier
        )
        return try await self.store.answer(to: request).get()
    }

    func release(_ token: LeaseToken, _ mode: ReleaseRequest.Mode) async throws -> ReleaseReply {
        let request = ReleaseRequest(key: self.key, token: token, mode: mode)
        return try await self.store.answer(to: request).get()
    }

    func poll(_ token: LeaseToken, mayEnd: Bool = false) async throws -> PollReply {
        let request = PollRequest(key: self.key, token: token, mayEnd: mayEnd)
        return try await self.store.answer(to: request).get()
    }

    func append(
        _ token: LeaseToken,
        _ index: Int,
        _ chunk: [UInt8]?,
        life: Duration = .seconds(30)
    ) async throws -> AppendReply {
        let request = AppendRequest(key: self.key, token: token, index: index, chunk: chunk, life: life)
        return try await self.store.answer(to: request).get()
    }

    func read(
        _ token: LeaseToken,
        from place: Int = 0,
        maximumBytes: Int = 1000,
        life: Duration = .zero
    ) async throws -> ReadReply {
        let request = ReadRequest(
            key: self.key,
            token: token,
            from: place,
            maximumBytes: maximumBytes,
            life: life
        )
        return try await self.store.answer(to: request).get()
    }

    func leave(_ token: LeaseToken) async throws -> LeaveReply {
        try await self.store.answer(to: LeaveRequest(key: self.key, token: token)).get()
    }

    func fence(_ token: LeaseToken) async throws -> FenceReply {
        try await self.store.answer(to: FenceRequest(key: self.key, token: token)).get()
    }

    func revoke(_ token: LeaseToken?) async throws -> RevokeReply {
        let request = RevokeRequest(key: self.key, token: token, by: "ops", reason: "stuck\nfor 100 %")
        return try await self.store.answer(to: request).get()
    }

    func depend(_ token: LeaseToken, on behalf: [EnclosingFlight]) async throws -> DependReply {
        try await self.store.answer(to: DependRequest(key: self.key, token: token, enclosing: behalf)).get()
    }

    func inspect() async throws -> LeaseInspection {
        try await self.store.answer(to: InspectRequest(key: self.key)).get()
    }

    /// Enters, and checks that it follows `token`.
    func follow(
        _ token: LeaseToken,
        _ terms: LeaseTerms = .long(),
        leastLife: Duration = .zero
    ) async throws {
        var generator = SystemRandomNumberGenerator()
        let reply = try await self.enter(LeaseToken(using: &generator), terms, leastLife: leastLife)
        guard case .follow(token, let remaining) = reply else {
            throw ConformanceFailure("entering while a lease is held follows its token")
        }
        try expectTrue(remaining > .zero, "a lease that is followed has time left")
    }
}

/// The announcements that one process hears about one key, in order.
final class ConformanceListener: Sendable {
    private struct State {
        var heard: [Announcement] = []
        var waiters = ConditionWaiters<Int>()
        var registration: InboxRegistration?
    }

    private let state = Mutex(State())

    init(_ store: any LeaseStore, _ key: FlightKey) {
        let registration = store.listen(for: key) { [weak self] event in
            guard case .announced(let announcement) = event else { return }
            self?.hear(announcement)
        }
        self.state.withLock { $0.registration = registration }
    }

    deinit {
        self.stop()
    }

    var heardCount: Int { self.state.withLock { $0.heard.count } }

    /// - Throws: `CancellationError` when the task is canceled first.
    func next() async throws -> Announcement {
        await withCancelableContinuation { continuation in
            let satisfied = self.state.withLock { state in
                state.waiters.add(continuation) { $0 > 0 }
                return state.waiters.takeSatisfied(by: state.heard.count)
            }
            satisfied.resume()
        }
        return try self.state.withLock { state in
            guard !state.heard.isEmpty else { throw CancellationError() }
            return state.heard.removeFirst()
        }
    }

    func stop() {
        let registration = self.state.withLock { $0.registration.take() }
        registration?.cancel()
    }

    private func hear(_ announcement: Announcement) {
        let satisfied = self.state.withLock { state in
            state.heard.append(announcement)
            return state.waiters.takeSatisfied(by: state.heard.count)
        }
        satisfied.resume()
    }
}
