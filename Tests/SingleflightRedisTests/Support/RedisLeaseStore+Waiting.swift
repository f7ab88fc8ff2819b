import SingleflightRedis

extension RedisLeaseStore {
    /// Waits until so many processes are registered on the flight of a key.
    ///
    /// Redis does not tell when somebody registers, so it is asked, a moment after each answer.
    ///
    /// - Throws: ``NobodyWaits`` after half a minute: whoever was to wait has got another answer.
    func untilWaiters(_ count: Int, group: String, key: String) async throws {
        let flightKey = try FlightKey(group: group, bytes: Array(key.utf8))
        let end = ContinuousClock.now + .seconds(30)
        while true {
            let inspection = try await self.answer(to: InspectRequest(key: flightKey)).get()
            if inspection.waiters.count >= count { return }
            guard ContinuousClock.now < end else {
                throw NobodyWaits(wanted: count, waiters: inspection.waiters.count, key: key)
            }
            try await Task.sleep(for: .milliseconds(1))
        }
    }
}

struct NobodyWaits: Error {
    let wanted: Int
    let waiters: Int
    let key: String
}
