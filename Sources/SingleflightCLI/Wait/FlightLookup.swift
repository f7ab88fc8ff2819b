import SingleflightRedis

/// Finds the flight that a command is about, from a key and perhaps a group.
struct FlightLookup: Sendable {
    let store: RedisLeaseStore

    struct Found: Sendable {
        let key: FlightKey
        let lease: LeaseInspection.Lease
        let waiters: Int
    }

    /// The flight of `key`, in `group` or in the only group where somebody leads it.
    ///
    /// With a group it asks for the one key; without, it looks through all leases.
    ///
    /// - Throws: ``CommandFailure`` with the status 2 if nobody leads it, 64 if it is led in several groups.
    func flight(of key: String, in group: String?) async throws -> Found {
        let group = if let group { group } else { try await self.group(of: key) }
        let flightKey = try FlightKey(group: group, bytes: Array(key.utf8))
        let inspection = try await store.answer(to: InspectRequest(key: flightKey)).get()
        guard let lease = inspection.lease else { throw CommandFailure.nobodyLeads(key) }
        return Found(key: flightKey, lease: lease, waiters: inspection.waiters.count)
    }

    /// The only group where somebody leads `key`. Looks through all leases.
    ///
    /// - Throws: ``CommandFailure``, as ``flight(of:in:)``.
    func group(of key: String) async throws -> String {
        let groups = try await store.leases { _, found in found == key }.map(\.group).sorted()
        guard let group = groups.first else { throw CommandFailure.nobodyLeads(key) }
        guard groups.count == 1 else {
            let names = groups.joined(separator: ", ")
            throw CommandFailure(
                "'\(SafeText.escape(key))' is led in several groups, say which with --group: \(names)",
                status: .usage
            )
        }
        return group
    }
}

extension CommandFailure {
    static func nobodyLeads(_ key: String) -> CommandFailure {
        CommandFailure("nobody leads '\(SafeText.escape(key))'", status: .notFound)
    }
}
