import SingleflightRedis

/// A store whose flights are waited for on behalf of other runs: it finds out whether those are waited for in turn.
final class EnclosedLeaseStore: LeaseStore {
    private let store: any LeaseStore
    private let enclosing: EnclosingRuns
    private let onCircle: @Sendable (_ path: [String]) -> Void

    /// - Parameter onCircle: called when the flight that is waited for waits for one of the enclosing runs, with the
    ///   keys on the way.
    init(_ store: any LeaseStore, enclosing: EnclosingRuns, onCircle: @escaping @Sendable (_ path: [String]) -> Void) {
        self.store = store
        self.enclosing = enclosing
        self.onCircle = onCircle
    }

    var clock: any LeaseClock { store.clock }
    var commandTimeout: Duration { store.commandTimeout }
    var maximumPayloadBytes: Int { store.maximumPayloadBytes }
    var inbox: InboxID { store.inbox }
    var label: String { store.label }

    func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        store.listen(for: key, handler)
    }

    func send(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        store.send(request) { answer in
            switch answer {
            case .success(.enter(.follow(let token, _))), .success(.poll(.superseded(by: let token))):
                self.depend(on: request.key, token)
            default:
                break
            }
            reply(answer)
        }
    }

    private func depend(on key: FlightKey, _ token: LeaseToken) {
        guard !enclosing.flights.isEmpty else { return }
        let request = DependRequest(key: key, token: token, enclosing: enclosing.flights)
        store.send(request) { answer in
            // Where the store cannot tell, the run waits as any other.
            if case .success(.circular(let path)) = answer { self.onCircle(path) }
        }
    }
}
