import SingleflightRedis

extension RevokeRequest {
    /// Ends the flight of `key` that has `lease`, under its token: a leader that has come since is not ended.
    init(ending lease: LeaseInspection.Lease, of key: FlightKey, reason: String) {
        self.init(
            key: key,
            token: lease.token,
            by: RunLabel.user,
            reason: reason
        )
    }
}
