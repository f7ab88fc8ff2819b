/// A point in time on a lease store's monotonic clock.
///
/// Instants of one clock are comparable; instants of two clocks are not. Wall-clock time plays no part in any decision.
public struct LeaseInstant: InstantProtocol, Hashable, Sendable, CustomStringConvertible {
    /// The time since the clock's own, arbitrary origin.
    public var sinceOrigin: Duration

    /// Creates the instant that lies `sinceOrigin` after the clock's origin.
    public init(sinceOrigin: Duration) {
        self.sinceOrigin = sinceOrigin
    }

    /// The instant that lies `duration` after this one.
    public func advanced(by duration: Duration) -> LeaseInstant {
        LeaseInstant(sinceOrigin: self.sinceOrigin + duration)
    }

    /// The time from this instant to `other`; negative if `other` is earlier.
    public func duration(to other: LeaseInstant) -> Duration {
        other.sinceOrigin - self.sinceOrigin
    }

    /// Whether `lhs` is earlier than `rhs`.
    public static func < (lhs: LeaseInstant, rhs: LeaseInstant) -> Bool {
        lhs.sinceOrigin < rhs.sinceOrigin
    }

    /// The time since the clock's origin, for logs and failure messages.
    public var description: String {
        "+\(self.sinceOrigin)"
    }
}

/// Names one scheduled call of a ``LeaseClock``, to cancel it.
public struct LeaseTimer: Hashable, Sendable {
    package let id: UInt64

    package init(id: UInt64) {
        self.id = id
    }
}

/// The time that the lease layer lives by: what time it is, and a call at a later time.
///
/// A store brings its clock along, so that renewals run where the store's connections run and cannot be starved by
/// the application's own tasks; a test brings one that it moves by hand.
public protocol LeaseClock: Sendable {
    /// The current instant. Never goes back, and counts the time during which the machine was suspended.
    var now: LeaseInstant { get }

    /// Calls `work` once, at `deadline` or as soon after it as possible, unless it is canceled before.
    ///
    /// `work` must be short: it runs on the store's own thread. It is never called from inside this method.
    func schedule(at deadline: LeaseInstant, _ work: @escaping @Sendable () -> Void) -> LeaseTimer

    /// Forgets a scheduled call. Does nothing if it was made already; a call that is just starting still happens.
    func cancel(_ timer: LeaseTimer)
}
