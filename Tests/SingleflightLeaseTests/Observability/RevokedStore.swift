import SingleflightLease
import SingleflightTestKit

extension InMemoryLeaseStore {
    func revoked(_ key: FlightKey) async throws -> RevokeReply {
        let request = RevokeRequest(key: key, token: nil, by: "test", reason: "")
        return try await self.answer(to: request).get()
    }
}
