import Logging
import SingleflightLease
import Synchronization

/// Warns of what keeps a store from being asked and will not pass by itself: once each, for as long as the store lives.
final class StoreWarnings: Sendable {
    private struct Told {
        var neverRun = false
        var refused = false
    }

    private let logger: Logger
    private let told = Mutex(Told())

    init(logger: Logger) {
        self.logger = logger
    }

    func neverRun(_ error: LeaseStoreError) {
        guard self.isFirst(\.neverRun) else { return }
        self.logger.warning("the store does not run", metadata: ["sf_error": "\(error)"])
    }

    func refused(_ error: LeaseStoreError) {
        guard self.isFirst(\.refused) else { return }
        self.logger.warning("redis refuses a request", metadata: ["sf_error": "\(error)"])
    }

    private func isFirst(_ subject: any WritableKeyPath<Told, Bool> & Sendable) -> Bool {
        self.told.withLock { told in
            defer { told[keyPath: subject] = true }
            return !told[keyPath: subject]
        }
    }
}
