import SingleflightRedis

/// What `leases` and `show` need of a store. This file is the one place where they meet it.
package protocol LeaseInspector: Sendable {
    /// The leases whose key matches `pattern`, a glob as Redis understands it.
    func leases(matching pattern: String) async throws -> [LeaseSummary]

    /// The lease of `key`, in `group` or in any; nil if nobody leads it.
    func lease(of key: String, in group: String?) async throws -> LeaseSummary?
}

enum LeaseInspectors {
    /// Calls `body` with an inspector of the leases in the Redis at `url`.
    static func withInspector(
        url: String,
        namespace: String,
        _ body: (any LeaseInspector) async throws -> Void
    ) async throws {
        let configuration = RedisLeaseStoreConfiguration(namespace: namespace, label: "singleflight")
        try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
            try await body(RedisLeaseInspector(store: store))
        }
    }
}

private struct RedisLeaseInspector: LeaseInspector {
    let store: RedisLeaseStore

    func leases(matching pattern: String) async throws -> [LeaseSummary] {
        try await store.leases { _, key in Glob.matches(key, pattern) }.map(LeaseSummary.init)
    }

    func lease(of key: String, in group: String?) async throws -> LeaseSummary? {
        try await store.leases { foundGroup, foundKey in
            foundKey == key && (group ?? foundGroup) == foundGroup
        }.first.map(LeaseSummary.init)
    }
}

extension LeaseSummary {
    fileprivate init(_ found: FoundLease) {
        self.init(
            key: found.key,
            group: found.group,
            leader: found.lease.note.label,
            token: found.lease.token.description,
            age: found.lease.note.age,
            remaining: max(found.lease.remaining, .zero),
            renewals: found.lease.note.renewals,
            waiters: found.waiterCount,
            progress: found.lease.note.progress?.text
        )
    }
}

extension FlightProgress {
    /// `40 % reading`, as far as it is known.
    fileprivate var text: String {
        let percent = fraction.map { ["\(Int(($0 * 100).rounded())) %"] } ?? []
        return (percent + (message.isEmpty ? [] : [message])).joined(separator: " ")
    }
}
