import SingleflightRedis

extension LeaseSummary {
    /// - Parameter isNamespaceTold: whether leases of several namespaces stand side by side.
    init(_ found: FoundLease, isNamespaceTold: Bool = false) {
        self.init(
            found.lease,
            namespace: isNamespaceTold ? found.namespace : nil,
            key: ByteText.text(found.keyBytes),
            group: found.group,
            waiters: found.waiterCount
        )
    }

    init(_ lease: LeaseInspection.Lease, namespace: String? = nil, key: String, group: String, waiters: Int) {
        self.init(
            namespace: namespace,
            key: key,
            group: group,
            leader: lease.note.label,
            token: lease.token.description,
            age: lease.note.age,
            remaining: max(lease.remaining, .zero),
            duration: lease.duration,
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
