import Logging
import SingleflightLease
import Synchronization

/// Warns of what keeps a store from being asked and will not pass by itself: once each, for as long as the store lives.
final class StoreWarnings: Sendable {
    private let logger: Logger
    private let toldOfNoRun = Atomic(false)
    private let toldOfRefusal = Atomic(false)

    init(logger: Logger) {
        self.logger = logger
    }

    func neverRun(_ error: LeaseStoreError) {
        guard !self.toldOfNoRun.exchange(true, ordering: .relaxed) else { return }
        self.logger.warning("the store does not run", metadata: ["sf_error": "\(error)"])
    }

    func refused(_ error: LeaseStoreError) {
        guard !self.toldOfRefusal.exchange(true, ordering: .relaxed) else { return }
        self.logger.warning("redis refuses a request", metadata: ["sf_error": "\(error)"])
    }
}
