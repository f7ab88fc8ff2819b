import SingleflightLease
import Synchronization

/// Passes everything on, and notes which requests to lead are marked as repetitions.
final class EnterSpy: LeaseStore {
    private let store: any LeaseStore
    private let state = Mutex<[Bool]>([])

    init(store: any LeaseStore) {
        self.store = store
    }

    var marks: [Bool] { self.state.withLock { $0 } }
    var clock: any LeaseClock { self.store.clock }
    var commandTimeout: Duration { self.store.commandTimeout }
    var inbox: InboxID { self.store.inbox }
    var label: String { self.store.label }

    func send(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        if case .enter(let request) = request {
            self.state.withLock { $0.append(request.isRepetition) }
        }
        self.store.send(request, reply: reply)
    }

    func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        self.store.listen(for: key, handler)
    }
}
