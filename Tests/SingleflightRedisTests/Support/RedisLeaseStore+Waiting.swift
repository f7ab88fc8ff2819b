import SingleflightRedis

extension RedisLeaseStore {
    /// Waits until so many processes are registered on the flight of a key.
    ///
    /// Redis does not tell when somebody registers, so it is asked, one question after the other's answer.
    func untilWaiters(_ count: Int, group: String, key: String) async throws {
        let flightKey = try FlightKey(group: group, bytes: Array(key.utf8))
        while true {
            let inspection = try await withCheckedContinuation { continuation in
                self.inspect(flightKey) { continuation.resume(returning: $0) }
            }.get()
            if inspection.waiters.count >= count { return }
        }
    }
}
