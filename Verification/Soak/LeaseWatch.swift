import SingleflightCLI
import SingleflightRedis
import Synchronization

/// A worker's store that remembers which leases the server may hold because a request had no answer in time, so that
/// those which a shutdown leaves behind without such an excuse can be told.
final class LeaseWatch: LeaseStore {
    private struct State {
        /// When a request about a lease remained without an answer.
        var unanswered: [LeaseToken: MonotonicTime] = [:]
        var shutdown: MonotonicTime?
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
        self.store.send(request) { [self] result in
            self.note(request.kind, token, result)
            reply(result)
        }
    }

    func shutdownBegins() { self.state.withLock { $0.shutdown = .now } }

    /// The leases that may be left behind.
    var excused: [String] {
        self.state.withLock { state in
            let now = MonotonicTime.now
            return state.unanswered.filter { $0.value.duration(to: now) < Self.memory }.map { "\($0.key)" }
        }
    }

    private func note(_ kind: LeaseRequest.Kind, _ token: LeaseToken, _ result: Result<LeaseReply, LeaseStoreError>) {
        let now = MonotonicTime.now
        self.state.withLock { state in
            switch (result, kind) {
            case (.failure(let error), _):
                // What is refused because of a shutdown had the command timeout to be carried out; not before.
                let isEarly = state.shutdown.map { $0.duration(to: now) < self.commandTimeout } ?? true
                if error.code == .shutDown, isEarly || !error.mayHaveExecuted && kind == .enter { return }
                state.unanswered[token] = now
            case (.success, .complete), (.success, .release):
                state.unanswered[token] = nil
            case (.success, _):
                break
            }
            if state.unanswered.count > 10_000 {
                state.unanswered = state.unanswered.filter { $0.value.duration(to: now) < Self.memory }
            }
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
        case .poll, .leave, .fence, .revoke, .depend, .inspect: nil
        }
    }
}
