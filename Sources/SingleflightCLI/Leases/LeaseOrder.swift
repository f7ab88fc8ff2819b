import ArgumentParser

/// How leases are sorted.
package enum LeaseOrder: String, CaseIterable, ExpressibleByArgument, Sendable {
    case key, age, left, waiters

    /// Oldest, soonest to end, or most waiters first; by key among equals.
    package func sorted(_ leases: [LeaseSummary]) -> [LeaseSummary] {
        leases.sorted { left, right in
            switch self {
            case .age where left.age != right.age: left.age > right.age
            case .left where left.remaining != right.remaining: left.remaining < right.remaining
            case .waiters where left.waiters != right.waiters: left.waiters > right.waiters
            default: (left.key, left.group, left.namespace ?? "") < (right.key, right.group, right.namespace ?? "")
            }
        }
    }
}
