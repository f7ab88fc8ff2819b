import Singleflight

/// The flight that an operation runs for, as the operation sees it.
public struct Flight<Key: Sendable>: Sendable, CustomStringConvertible {
    /// What is being computed.
    public let key: Key
    /// The flight's token; `nil` where the operation runs without a lease because the store could not be asked.
    ///
    /// It changes if the store loses the lease, and the operation goes on under another one: see ``LostLeasePolicy``.
    public var token: LeaseToken? {
        switch self.source {
        case .driver(let driver): driver.token
        case .standIn(let standIn): standIn.token
        }
    }

    fileprivate let source: FlightSource

    /// What runs the flight; `nil` for a flight of no group.
    var driver: FlightDriver? { if case .driver(let driver) = self.source { driver } else { nil } }

    init(key: Key, driver: FlightDriver) {
        self.key = key
        self.source = .driver(driver)
    }

    /// The same flight under the key that the caller knows it by.
    init(_ flight: Flight<FlightKey>, key: Key) {
        self.key = key
        self.source = flight.source
    }

    /// Makes a flight of no group, for tests of an operation: it is current for ever.
    ///
    /// - Parameters:
    ///   - key: what is being computed.
    ///   - token: the flight's token; `nil` for a flight without a lease.
    ///   - fence: what ``fence()`` answers; `nil` for a flight without a lease.
    ///   - onProgress: hears what the operation says of its progress.
    public init(
        key: Key,
        token: LeaseToken? = nil,
        fence: Fence? = nil,
        onProgress: @escaping @Sendable (FlightProgress) -> Void = { _ in }
    ) {
        self.key = key
        self.source = .standIn(FlightStandIn(token: token, fence: fence, onProgress: onProgress))
    }

    /// The key and the token, on one line.
    public var description: String {
        String(line: "\(self.key)") + (self.token.map { " under \($0)" } ?? " without a lease")
    }

    /// Whether this process still believes that it leads.
    ///
    /// It is false while the lease is in doubt, and true again if another one is granted; once somebody else leads it
    /// stays false, and the operation's task is canceled. When nobody in this process waits any more the lease is in
    /// doubt until the store has said whether somebody waits elsewhere. Under ``LostLeasePolicy/cancel`` any doubt is
    /// the end. Where there is no lease it is true until the flight ends: nobody else was asked.
    public var isCurrent: Bool {
        switch self.source {
        case .driver(let driver): driver.isCurrent
        case .standIn: true
        }
    }

    /// Says how far the work has come, for those who wait and for those who inspect the lease.
    ///
    /// Callers in this process hear of it at once. The next renewal carries it to the store, and so to the others;
    /// where somebody may wait, that renewal comes early for it, though not more often than
    /// ``DistributedGroupConfiguration/Limits/progressInterval``. Cheap to call as often as one likes: only the latest
    /// report is told.
    public func report(progress: FlightProgress) {
        switch self.source {
        case .driver(let driver): driver.report(progress)
        case .standIn(let standIn): standIn.onProgress(progress)
        }
    }

    /// Draws a fence under this flight's lease: greater than every fence drawn under an earlier lease of the key.
    ///
    /// - Throws: `Cancellation` if the lease is lost, ``DistributedGroupError`` of the code
    ///   ``DistributedGroupError/Code/unavailable`` if the store cannot be asked, or there is no lease.
    public func fence() async throws -> Fence {
        let driver: FlightDriver
        switch self.source {
        case .driver(let found): driver = found
        case .standIn(let standIn):
            guard let fence = standIn.fence else { throw DistributedGroupError.noLease }
            return fence
        }
        guard let token else { throw DistributedGroupError.noLease }
        let reply = await withCheckedContinuation { continuation in
            driver.fence(token: token) { continuation.resume(returning: $0) }
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

extension DistributedGroupError {
    fileprivate static var noLease: DistributedGroupError {
        DistributedGroupError(.unavailable, "there is no lease to draw a fence under")
    }
}

/// What stands behind a flight that an operation sees.
private enum FlightSource: Sendable {
    case driver(FlightDriver)
    case standIn(FlightStandIn)
}

/// A flight of no group.
private final class FlightStandIn: Sendable {
    let token: LeaseToken?
    let fence: Fence?
    let onProgress: @Sendable (FlightProgress) -> Void

    init(token: LeaseToken?, fence: Fence?, onProgress: @escaping @Sendable (FlightProgress) -> Void) {
        self.token = token
        self.fence = fence
        self.onProgress = onProgress
    }
}
