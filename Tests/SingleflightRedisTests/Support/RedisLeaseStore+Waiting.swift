import SingleflightRedis
import TestSupport

extension RedisLeaseStore {
    /// Waits until `count` processes are registered on the flight of a key.
    ///
    /// Redis does not tell when somebody registers, so it is asked, a moment after each answer.
    ///
    /// - Throws: `WaitedTooLong` after half a minute: the callers that were to wait have got another answer.
    func untilWaiters(_ count: Int, group: String, key: String) async throws {
        let flightKey = try FlightKey(group: group, bytes: Array(key.utf8))
        try await until("\(count) processes that wait for \(group):\(key)") {
            try await self.inspected(flightKey).waiters.count >= count
        }
    }
}
