import Logging
import SingleflightLease
import Synchronization

/// Warns of what keeps a store from being asked and will not pass by itself, and of an end that comes too early: once
/// each, for as long as the store lives.
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

    /// The store was shut down in good order, and callers still wait for this many keys.
    func shutsDownUnderFlights(keys: Int) {
        self.logger.warning(
            "the store shuts down under flights",
            metadata: [
                "sf_keys": "\(keys)",
                "sf_error": "name the store before the services that use it: a ServiceGroup shuts down the last first",
            ]
        )
    }

    func refused(_ error: LeaseStoreError) {
        guard !self.toldOfRefusal.exchange(true, ordering: .relaxed) else { return }
        self.logger.warning("redis refuses a request", metadata: ["sf_error": "\(error)"])
    }
}
