import Singleflight

/// The flight that an operation runs for, as the operation sees it.
public struct Flight<Key: Sendable>: Sendable {
    /// What is being computed.
    public let key: Key
    /// The flight's token; `nil` where the operation runs without a lease because the store could not be asked.
    public let token: LeaseToken?

    fileprivate let driver: FlightDriver

    init(key: Key, token: LeaseToken?, driver: FlightDriver) {
        self.key = key
        self.token = token
        self.driver = driver
    }

    /// The same flight under the key that the caller knows it by.
    init(_ flight: Flight<FlightKey>, key: Key) {
        self.init(key: key, token: flight.token, driver: flight.driver)
    }

    /// Whether this process still believes that it leads. Once false it stays false, and the operation's task is canceled.
    ///
    /// Where there is no lease it is true until the flight ends: nobody else was asked.
    public var isCurrent: Bool {
        self.driver.isCurrent
    }

    /// Says how far the work has come, for those who wait and for those who inspect the lease.
    ///
    /// Callers in this process hear of it at once. The next renewal carries it to the store, and so to the others; where
    /// somebody may wait, that renewal comes early for it, though not more often than
    /// ``DistributedGroupConfiguration/Limits/progressInterval``. Cheap to call as often as one likes: only the latest
    /// report is told.
    public func report(progress: FlightProgress) {
        self.driver.report(progress)
    }

    /// Draws a fence under this flight's lease: greater than every fence drawn under an earlier lease of the key.
    ///
    /// - Throws: ``Cancellation`` if the lease is lost, ``DistributedGroupError`` of the code
    ///   ``DistributedGroupError/Code/unavailable`` if the store cannot be asked, or there is no lease.
    public func fence() async throws -> Fence {
        guard let token else {
            throw DistributedGroupError(.unavailable, "there is no lease to draw a fence under")
        }
        let reply = await withCheckedContinuation { continuation in
            self.driver.fence(token: token) { continuation.resume(returning: $0) }
        }
        switch reply {
        case .success(.drawn(let fence)):
            return fence
        case .success(.lost):
            throw Cancellation.leaseLost
        case .failure(let error):
            throw DistributedGroupError(.unavailable, "no fence could be drawn: \(error)", underlying: error)
        }
    }
}
