import SingleflightLease

/// The records of the leases that this process was granted and has not written anew since: what a lease's key still
/// holds if nobody has begun to wait, and the flight waits for no other.
///
/// A value without I/O. Each is of use once, when its flight ends with a result. Flights that end otherwise may leave
/// theirs behind: it is dropped once its key cannot live any more.
struct GrantedRecords {
    private struct Granted {
        var record: [UInt8]
        /// When the lease's key is gone, unless it was renewed.
        var until: LeaseInstant
    }

    private var records: [LeaseToken: Granted] = [:]
    /// With this many, those that are of no use any more are looked for.
    private var limit = Self.leastLimit

    private static let leastLimit = 64

    var count: Int { self.records.count }

    /// Keeps a lease's record. O(1), amortized.
    mutating func insert(_ record: [UInt8], of token: LeaseToken, until: LeaseInstant, now: LeaseInstant) {
        if self.records.count >= self.limit {
            self.records = self.records.filter { $0.value.until > now }
            self.limit = max(Self.leastLimit, 2 * self.records.count)
        }
        self.records[token] = Granted(record: record, until: until)
    }

    /// Removes and returns the record of a lease, if there is one.
    mutating func take(_ token: LeaseToken) -> [UInt8]? {
        self.records.removeValue(forKey: token)?.record
    }
}
