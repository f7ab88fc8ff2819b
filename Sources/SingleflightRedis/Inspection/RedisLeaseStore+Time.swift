import HiredisClient
import SingleflightLease

extension RedisLeaseStore {
    /// The server's time since 1970: the one clock that all processes share.
    ///
    /// - Throws: ``LeaseStoreError``.
    package func time() async throws(LeaseStoreError) -> Duration {
        guard let time = try await self.execute([RedisCommand("TIME")], at: .none)[0].serverTime else {
            throw LeaseStoreError(.protocolViolation, "unexpected reply to TIME")
        }
        return time
    }
}
