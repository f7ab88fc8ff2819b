import SingleflightRedis

/// What `watch` has told of flights, so that those which were found running and the events since fit together. No I/O.
///
/// The two come on two connections. Of a flight that an event told of, a pass over the leases has nothing to add; of
/// one that a pass has found, the beginning is no news.
struct ToldFlights: Sendable {
    /// While a pass is under way: flights that events told of meanwhile.
    private var heard: Set<LeaseToken>?
    /// Found running, and not known to have ended.
    private var found: Set<LeaseToken> = []

    /// Everything that runs is to be told, again if need be.
    mutating func beginPass() {
        heard = []
        found = []
    }

    mutating func endPass() { heard = nil }

    /// A pass found this flight; whether to tell it.
    mutating func find(_ token: LeaseToken) -> Bool {
        heard?.contains(token) != true && found.insert(token).inserted
    }

    /// An event came; whether to tell it.
    mutating func hear(_ change: LeaseEvent.Change, of token: LeaseToken) -> Bool {
        heard?.insert(token)
        switch change {
        case .acquired: return !found.contains(token)
        case .takenOver(let lost):
            found.remove(lost)
            return !found.contains(token)
        case .completed, .failed, .canceled, .released:
            found.remove(token)
            return true
        case .renewed, .joined, .left: return true
        }
    }
}
