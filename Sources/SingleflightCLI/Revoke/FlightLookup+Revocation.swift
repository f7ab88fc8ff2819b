import SingleflightRedis

extension FlightLookup.Found {
    /// The request that ends this flight, under its token: whoever leads by now, if it is somebody else, is not who was
    /// asked about.
    func revocation(reason: String) -> RevokeRequest {
        RevokeRequest(
            key: key,
            token: lease.token,
            by: RunLabel.user,
            reason: reason
        )
    }
}
