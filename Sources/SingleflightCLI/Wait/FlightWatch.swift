import SingleflightRedis

/// Waits for the outcome of a flight that others lead and never leads it itself.
///
/// It is a waiter like any other, with one difference: it has no say in what becomes of a flight whose leader is lost.
/// It asks as one that would take over, so that its question does not end the flight, and leaves that to the others.
struct FlightWatch<Store: LeaseStore>: Sendable {
    let store: Store
    let key: FlightKey

    /// How the wait ended.
    enum Ending: Sendable {
        case outcome(StoredOutcome)
        /// The lease ran out, nobody took over, and by now nothing is known of the flight.
        case expired
        /// The store forgot the flight, or what came of it.
        case gone
        case timedOut
    }

    private enum Event: Sendable {
        case inbox(InboxEvent)
        case timer
        case timedOut
    }

    /// - Throws: ``LeaseStoreError`` if the store cannot be asked for as long as the lease lasts; `CancellationError`.
    func ending(of lease: LeaseInspection.Lease, atMost limit: Duration?) async throws -> Ending {
        let (events, continuation) = AsyncStream.makeStream(of: Event.self)
        let registration = store.listen(for: key) { event in
            // Progress is no reason to ask how the flight stands.
            if case .announced(let announcement) = event, case .progress = announcement.news { return }
            continuation.yield(.inbox(event))
        }
        let timeout = limit.map { limit in
            store.clock.schedule(at: store.clock.now.advanced(by: limit)) { continuation.yield(.timedOut) }
        }
        defer {
            registration.cancel()
            if let timeout { store.clock.cancel(timeout) }
        }
        var progress = FlightWatchProgress(lease, now: store.clock.now)
        var incoming = events.makeAsyncIterator()
        while true {
            let pause: Duration
            switch progress.answered(await poll(progress.token), now: store.clock.now) {
            case .outcome(let outcome): return .outcome(outcome)
            case .expired: return .expired
            case .gone: return .gone
            case .fail(let error): throw error
            case .askAgain: continue
            case .wait(let duration): pause = duration
            }
            let timer = store.clock.schedule(at: store.clock.now.advanced(by: pause)) { continuation.yield(.timer) }
            let event = await incoming.next()
            store.clock.cancel(timer)
            switch event {
            case .inbox(.announced(let announcement)) where announcement.token == progress.token:
                if case .outcome(let outcome) = announcement.news { return .outcome(outcome) }
            case .inbox, .timer: break
            case .timedOut:
                await leave(progress.token, registration)
                return .timedOut
            case nil:
                await leave(progress.token, registration)
                throw CancellationError()
            }
        }
    }

    private func poll(_ token: LeaseToken) async -> Result<PollReply, LeaseStoreError> {
        let request = PollRequest(key: key, token: token)
        return await store.answer(to: request)
    }

    /// The leader is told if it was us that it still worked for.
    private func leave(_ token: LeaseToken, _ registration: InboxRegistration) async {
        registration.cancel()
        _ = await store.answer(to: LeaveRequest(key: key, token: token))
    }
}

/// What a watch knows, and what follows from an answer. A value without I/O.
struct FlightWatchProgress: Sendable {
    enum Step: Sendable {
        case outcome(StoredOutcome)
        case expired
        case gone
        case fail(LeaseStoreError)
        case askAgain
        /// Ask again after so long, or when something is announced.
        case wait(Duration)
    }

    /// The flight's present name: it changes when somebody takes over.
    private(set) var token: LeaseToken

    private let duration: Duration
    private var isExpired = false
    private var giveUpAt: LeaseInstant

    /// Between two questions while nobody leads, or nothing can be asked.
    private static let pause = Duration.milliseconds(250)

    init(_ lease: LeaseInspection.Lease, now: LeaseInstant) {
        token = lease.token
        duration = lease.duration
        giveUpAt = now.advanced(by: lease.duration)
    }

    mutating func answered(_ reply: Result<PollReply, LeaseStoreError>, now: LeaseInstant) -> Step {
        if case .success = reply { giveUpAt = now.advanced(by: duration) }
        switch reply {
        case .success(.done(let outcome)): return .outcome(outcome)
        case .success(.superseded(let successor)):
            token = successor
            return .askAgain
        case .success(.gone), .success(.withdrawn): return isExpired ? .expired : .gone
        case .success(.expired):
            isExpired = true
            return .wait(Self.pause)
        case .success(.running(let remaining)):
            isExpired = false
            // The others ask at the same moment, if they have to.
            let jitter = Int64.random(in: 0...min(500, duration.wholeMilliseconds / 10))
            return .wait(max(remaining, .zero) + .milliseconds(1 + jitter))
        case .failure(let error):
            return error.isTransient && now < giveUpAt ? .wait(Self.pause) : .fail(error)
        }
    }
}
