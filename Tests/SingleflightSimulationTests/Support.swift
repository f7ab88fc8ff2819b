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

    func enter(_ request: EnterRequest, reply: @escaping LeaseReply<EnterReply>) {
        self.state.withLock { $0.append(request.isRepetition) }
        self.store.enter(request, reply: reply)
    }

    func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        self.store.listen(for: key, handler)
    }

    func renew(_ request: RenewRequest, reply: @escaping LeaseReply<RenewReply>) {
        self.store.renew(request, reply: reply)
    }

    func complete(_ request: CompleteRequest, reply: @escaping LeaseReply<CompleteReply>) {
        self.store.complete(request, reply: reply)
    }

    func release(_ request: ReleaseRequest, reply: @escaping LeaseReply<ReleaseReply>) {
        self.store.release(request, reply: reply)
    }

    func poll(_ request: PollRequest, reply: @escaping LeaseReply<PollReply>) {
        self.store.poll(request, reply: reply)
    }

    func leave(_ key: FlightKey, token: LeaseToken, reply: @escaping LeaseReply<LeaveReply>) {
        self.store.leave(key, token: token, reply: reply)
    }

    func fence(_ key: FlightKey, token: LeaseToken, reply: @escaping LeaseReply<FenceReply>) {
        self.store.fence(key, token: token, reply: reply)
    }

    func revoke(_ request: RevokeRequest, reply: @escaping LeaseReply<RevokeReply>) {
        self.store.revoke(request, reply: reply)
    }

    func inspect(_ key: FlightKey, reply: @escaping LeaseReply<LeaseInspection>) {
        self.store.inspect(key, reply: reply)
    }
}

/// For flights whose end does not matter.
struct SilentOwner: FlightOwner {
    func startOperation(token: LeaseToken, driver: FlightDriver) {}
    func cancelOperation(_ loss: OperationLoss) {}
    func resolve(_ resolution: FlightResolution) {}
    func finish() {}
}
