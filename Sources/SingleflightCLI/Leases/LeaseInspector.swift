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
        throw CommandFailure("this build cannot reach Redis at \(url)", status: .unavailable)
    }
}
