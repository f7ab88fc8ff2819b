import SingleflightRedis

extension LeaseSummary {
    init(_ found: FoundLease) {
        self.init(found.lease, key: ByteText.text(found.keyBytes), group: found.group, waiters: found.waiterCount)
    }

    init(_ lease: LeaseInspection.Lease, key: String, group: String, waiters: Int) {
        self.init(
            key: key,
            group: group,
            leader: lease.note.label,
            token: lease.token.description,
            age: lease.note.age,
            remaining: max(lease.remaining, .zero),
            renewals: lease.note.renewals,
            waiters: waiters,
            progress: lease.note.progress?.text,
            fraction: lease.note.progress?.fraction,
            trace: lease.note.trace?.fields
        )
    }
}

extension FlightProgress {
    /// `40 % reading`, as far as it is known.
    var text: String {
        let percent = fraction.map { ["\(Int(($0 * 100).rounded())) %"] } ?? []
        return (percent + (message.isEmpty ? [] : [message])).joined(separator: " ")
    }
}
