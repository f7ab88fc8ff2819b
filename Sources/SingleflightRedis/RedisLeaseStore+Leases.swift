import HiredisClient
public import SingleflightLease

/// A lease that was found in Redis, and what it is for.
public struct FoundLease: Hashable, Sendable {
    /// The group's name.
    public var group: String
    /// The key as text; its digest, if the key is too long to be a name and the leader's note does not tell it.
    public var key: String
    /// The lease.
    public var lease: LeaseInspection.Lease
    /// The number of processes that wait for it.
    public var waiterCount: Int
}

extension RedisLeaseStore {
    /// Finds the leases of the store's namespace, expired ones that nobody claimed included, in no order.
    ///
    /// It asks in batches, none of which keeps the server for long. A lease that comes or goes meanwhile may be found or
    /// not; none is found twice.
    ///
    /// - Parameter isWanted: whether the lease of this key is of interest; nothing more is read of the others.
    /// - Throws: ``LeaseStoreError``.
    public func leases(
        where isWanted: (_ group: String, _ key: String) -> Bool = { _, _ in true }
    ) async throws(LeaseStoreError) -> [FoundLease] {
        let pattern = RedisArgument.string("sf1:{\(self.configuration.namespace):*}:lease:*")
        var found: [FoundLease] = []
        var seen: Set<String> = []
        var cursor = "0"
        repeat {
            let scan = RedisCommand("SCAN", .string(cursor), "MATCH", pattern, "COUNT", "1000")
            guard let page = try await self.execute(scan).array, page.count == 2, let next = page[0].string,
                let names = page[1].array
            else {
                throw LeaseStoreError(.protocolViolation, "unexpected reply to SCAN")
            }
            for name in names.compactMap(\.string) where seen.insert(name).inserted {
                if let lease = try await self.lease(named: name, where: isWanted) {
                    found.append(lease)
                }
            }
            cursor = next
        } while cursor != "0"
        return found
    }

    private func lease(
        named name: String,
        where isWanted: (String, String) -> Bool
    ) async throws(LeaseStoreError) -> FoundLease? {
        guard let marker = name.firstRange(of: "}:lease:") else { return nil }
        let rest = name[marker.upperBound...]
        guard let colon = rest.firstIndex(of: ":") else { return nil }
        let group = String(rest[..<colon])
        let encodedKey = rest[rest.index(after: colon)...]
        let key = Keyspace.decode(encodedKey.utf8[...]).map { String(decoding: $0, as: UTF8.self) }
        if let key, !isWanted(group, key) { return nil }

        guard let bytes = try await self.execute(RedisCommand("GET", .string(name))).bytes,
            let record = LeaseRecord(bytes: bytes),
            let life = try await self.execute(RedisCommand("PTTL", .string(name))).integer, life > 0
        else { return nil }
        let foundKey = key ?? record.note.key ?? String(encodedKey)
        guard isWanted(group, foundKey) else { return nil }
        let waiters = RedisArgument.string("\(name[..<marker.lowerBound])}:wait:\(rest)")
        return FoundLease(
            group: group,
            key: foundKey,
            lease: LeaseInspection.Lease(record, keyLife: .milliseconds(life)),
            waiterCount: Int(try await self.execute(RedisCommand("SCARD", waiters)).integer ?? 0)
        )
    }

    private func execute(_ command: RedisCommand) async throws(LeaseStoreError) -> RESPValue {
        do {
            return try await self.client.send(command)
        } catch {
            throw LeaseStoreError(error)
        }
    }
}
