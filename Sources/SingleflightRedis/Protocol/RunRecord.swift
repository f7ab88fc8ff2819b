/// A run that is over, as its leader recorded it for people who ask later. No decision depends on it.
package struct RunRecord: Codable, Hashable, Sendable {
    /// The label of the leader, which ran it.
    package var label: String
    /// When it began, in ms since 1970 by the leader's clock.
    package var startedAt: Int64
    /// How long it took, in ms.
    package var milliseconds: Int64
    /// With which status a command ended.
    package var status: Int32?
    /// Why it ended, where the status does not say: the lease was lost, it was revoked.
    package var reason: String?

    package init(
        label: String,
        startedAt: Int64,
        milliseconds: Int64,
        status: Int32? = nil,
        reason: String? = nil
    ) {
        self.label = label
        self.startedAt = startedAt
        self.milliseconds = milliseconds
        self.status = status
        self.reason = reason
    }
}

/// The last runs of a key.
package struct LastRuns: Hashable, Sendable {
    package struct Run: Hashable, Sendable {
        package var record: RunRecord
        /// How often somebody came before this run was over and went away again without a result.
        package var skips: Int
    }

    /// The latest first.
    package var runs: [Run] = []
    /// Since the last run was over.
    package var skips = 0

    package init() {}
}
