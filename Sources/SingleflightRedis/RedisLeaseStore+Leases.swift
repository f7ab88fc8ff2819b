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
    /// - Parameter pattern: a glob, as Redis understands it, for `group:key`.
    /// - Throws: ``LeaseStoreError``.
    public func leases(matching pattern: String = "*") async throws(LeaseStoreError) -> [FoundLease] {
        let prefix = "sf1:{\(self.configuration.namespace):"
        var found: [FoundLease] = []
        var seen: Set<String> = []
        var cursor = "0"
        repeat {
            let scan = RedisCommand(
                "SCAN",
                .string(cursor),
                "MATCH",
                .string("\(prefix)*}:lease:\(pattern)"),
                "COUNT",
                "1000"
            )
            guard let page = try await self.execute(scan).array, page.count == 2, let next = page[0].string,
                let names = page[1].array
            else {
                throw LeaseStoreError(.protocolViolation, "unexpected reply to SCAN")
            }
            for name in names.compactMap(\.string) where seen.insert(name).inserted {
                if let lease = try await self.lease(named: name) {
                    found.append(lease)
                }
            }
            cursor = next
        } while cursor != "0"
        return found
    }

    private func lease(named name: String) async throws(LeaseStoreError) -> FoundLease? {
        guard let marker = name.firstRange(of: "}:lease:") else { return nil }
        let rest = name[marker.upperBound...]
        guard let colon = rest.firstIndex(of: ":") else { return nil }
        let encodedKey = rest[rest.index(after: colon)...]
        let waiters = "\(name[..<marker.lowerBound])}:wait:\(rest)"

        async let text = self.execute(RedisCommand("GET", .string(name)))
        async let life = self.execute(RedisCommand("PTTL", .string(name)))
        async let count = self.execute(RedisCommand("SCARD", .string(waiters)))
        let replies: (RESPValue, RESPValue, RESPValue)
        do {
            replies = try await (text, life, count)
        } catch let error as LeaseStoreError {
            throw error
        } catch {
            throw LeaseStoreError(.unavailable, "\(error)", underlying: error)
        }
        guard let bytes = replies.0.bytes, let record = LeaseRecord(bytes: bytes), let left = replies.1.integer,
            left > 0
        else { return nil }
        let decoded = Keyspace.decode(encodedKey.utf8[...])
        return FoundLease(
            group: String(rest[..<colon]),
            key: decoded.map { String(decoding: $0, as: UTF8.self) } ?? record.note.key ?? String(encodedKey),
            lease: LeaseInspection.Lease(record, keyLife: .milliseconds(left)),
            waiterCount: Int(replies.2.integer ?? 0)
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
