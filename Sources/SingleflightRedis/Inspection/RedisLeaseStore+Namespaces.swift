import SingleflightLease

/// A namespace that has keys in Redis.
package struct FoundNamespace: Hashable, Sendable {
    package var name: String
    /// Leases, expired ones that nobody claimed included.
    package var leases: Int
    /// Leases and everything else that belongs to flights: outcomes, waiters, fences.
    package var keys: Int
}

extension RedisLeaseStore {
    /// The namespaces that have any key, by name: one pass over the names of all keys in Redis, in small steps.
    ///
    /// - Throws: ``LeaseStoreError``.
    package func namespaces() async throws(LeaseStoreError) -> [FoundNamespace] {
        var scan = KeyScan()
        var found: [String: FoundNamespace] = [:]
        // Redis tells some of its keys twice when it resizes its table. Counts may be off by these, names are not.
        while let page = try await scan.next(matching: "sf2:{*:*}:*", by: self) {
            for name in page.names {
                guard let tag = Self.tag(of: name), let colon = tag.lastIndex(of: ":") else { continue }
                let namespace = String(tag[..<colon])
                var entry = found[namespace] ?? FoundNamespace(name: namespace, leases: 0, keys: 0)
                entry.keys += 1
                if name[tag.endIndex...].hasPrefix("}:lease:") { entry.leases += 1 }
                found[namespace] = entry
            }
        }
        return found.values.sorted { $0.name < $1.name }
    }

    /// What stands between the braces of a key's name.
    private static func tag(of name: String) -> Substring? {
        guard let open = name.firstIndex(of: "{"), let close = name[open...].firstIndex(of: "}") else { return nil }
        return name[name.index(after: open)..<close]
    }
}
