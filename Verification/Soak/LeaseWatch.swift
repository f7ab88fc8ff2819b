import SingleflightCLI
import SingleflightRedis
import Synchronization

/// A worker's store that remembers which leases the server may hold because a request had no answer in time, so that
/// those which a shutdown leaves behind without such an excuse can be told.
final class LeaseWatch: LeaseStore {
    private struct State {
        /// What was asked about each lease, and answered.
        var leases: [LeaseToken: Lease] = [:]
        var shutdown: MonotonicTime?
    }

    private struct Lease {
        /// Whether a request remained without an answer, and none after it says that the lease is over.
        var isInDoubt = false
        var last: MonotonicTime
        /// For messages.
        var trail = ""
    }

    /// A lease that is neither renewed nor handed back is gone by then, and forgotten.
    private static let memory = WorkerSettings.longestLease + WorkerSettings.longestGrace + .seconds(1)

    private let store: any LeaseStore
    private let state = Mutex(State())

    var clock: any LeaseClock { self.store.clock }
    var commandTimeout: Duration { self.store.commandTimeout }
    var maximumPayloadBytes: Int { self.store.maximumPayloadBytes }
    var inbox: InboxID { self.store.inbox }
    var label: String { self.store.label }

    init(_ store: any LeaseStore) {
        self.store = store
    }

    func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        self.store.listen(for: key, handler)
    }

    func send(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        guard let token = request.ownToken else { return self.store.send(request, reply: reply) }
        let sent = MonotonicTime.now
        self.store.send(request) { [self] result in
            self.note(request, token, sent, result)
            reply(result)
        }
    }

    var isShuttingDown: Bool { self.state.withLock { $0.shutdown != nil } }

    func shutdownBegins() { self.state.withLock { $0.shutdown = $0.shutdown ?? .now } }

    /// What became of the leases that the server may know still.
    var accounts: [String: LeaseAccount] {
        self.state.withLock { state in
            Self.forget(&state)
            let accounts = state.leases.map {
                ("\($0.key)", LeaseAccount(isInDoubt: $0.value.isInDoubt, trail: $0.value.trail))
            }
            return Dictionary(accounts) { $1 }
        }
    }

    private static func forget(_ state: inout State) {
        let now = MonotonicTime.now
        state.leases = state.leases.filter { $0.value.last.duration(to: now) < Self.memory }
    }

    private func note(
        _ request: LeaseRequest,
        _ token: LeaseToken,
        _ sent: MonotonicTime,
        _ result: Result<LeaseReply, LeaseStoreError>
    ) {
        let now = MonotonicTime.now
        self.state.withLock { state in
            var lease = state.leases[token] ?? Lease(last: now)
            lease.last = now
            // Without what a result holds.
            let answer =
                switch result {
                case .success(.enter(.lead)): "lead"
                case .success(.enter): "do not lead"
                case .success(.release(let reply)): "\(reply)"
                case .success: "done"
                case .failure(let error): "\(error.code), \(error.mayHaveExecuted ? "perhaps" : "not") carried out"
                }
            let since = state.shutdown.map { "\(Int($0.duration(to: sent) / .milliseconds(1)))" } ?? "before"
            lease.trail +=
                "\(request.kind) [\(since) +\(Int(sent.duration(to: now) / .milliseconds(1))) ms]: \(answer); "
            switch (result, request) {
            case (.failure(let error), .enter):
                if error.mayHaveExecuted { lease.isInDoubt = true }
            case (.failure(let error), _):
                // What is refused because of a shutdown had the command timeout to be carried out; not before.
                let isEarly = state.shutdown.map { $0.duration(to: now) < self.commandTimeout } ?? true
                if error.code != .shutDown || !isEarly { lease.isInDoubt = true }
            case (.success(.complete), _), (.success(.release(.released)), _), (.success(.release(.awaited)), _):
                lease.isInDoubt = false
            case (.success, _):
                // A request to lead may be carried out after the release that found nothing to hand back.
                break
            }
            state.leases[token] = lease
            if state.leases.count > 2000 { Self.forget(&state) }
        }
    }
}

extension LeaseRequest {
    /// The lease that the request takes, keeps or gives up.
    fileprivate var ownToken: LeaseToken? {
        switch self {
        case .enter(let request): request.token
        case .renew(let request): request.token
        case .complete(let request): request.token
        case .release(let request): request.token
        case .poll, .leave, .fence, .revoke, .depend, .inspect, .append, .read: nil
        }
    }
}
