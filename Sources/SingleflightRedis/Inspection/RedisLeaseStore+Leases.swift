import HiredisClient
public import SingleflightLease

/// A lease that was found in Redis, and what it is for.
public struct FoundLease: Hashable, Sendable {
    /// The namespace that it is of.
    public var namespace: String
    /// The group's name.
    public var group: String
    /// The key as text; its digest, if the key is too long to be a name and the leader's note does not tell it.
    public var key: String
    /// The key's own bytes; those of the text, where only that is known.
    public var keyBytes: [UInt8]
    /// The lease.
    public var lease: LeaseInspection.Lease
    /// The number of processes that wait for it.
    public var waiterCount: Int

    /// Creates a lease that was found. Without `keyBytes` the key's bytes are those of its text.
    public init(
        namespace: String,
        group: String,
        key: String,
        keyBytes: [UInt8]? = nil,
        lease: LeaseInspection.Lease,
        waiterCount: Int = 0
    ) {
        self.namespace = namespace
        self.group = group
        self.key = key
        self.keyBytes = keyBytes ?? Array(key.utf8)
        self.lease = lease
        self.waiterCount = waiterCount
    }
}

/// Some of the leases in Redis.
public struct LeaseBatch: Sendable {
    /// What was found; often nothing.
    public var leases: [FoundLease]
    /// The share of the server's keys that was looked at so far, from 0 to 1.
    public var scannedFraction: Double
    /// The server's time when they were found, since 1970; `nil` where this user may not ask for it.
    public var time: Duration?

    /// Creates a batch.
    public init(leases: [FoundLease], scannedFraction: Double = 1, time: Duration? = nil) {
        self.leases = leases
        self.scannedFraction = scannedFraction
        self.time = time
    }
}

/// Leases in batches, each of which is asked for when it is wanted.
///
/// A lease that comes or goes meanwhile may be found or not. One that stays is found, once. Memory is that of one
/// batch, and of the token of each lease that was found, since Redis tells some of its keys twice when it resizes its
/// table. No command keeps the server for long: how many keys a step looks at follows from how long the server took for
/// the steps before.
public struct LeaseBatches: AsyncSequence, Sendable {
    fileprivate let store: RedisLeaseStore
    fileprivate let isEveryNamespaceMeant: Bool
    fileprivate let isWanted: @Sendable (_ group: String, _ key: String) -> Bool

    /// Starts from the beginning.
    public func makeAsyncIterator() -> Iterator {
        let namespace = self.isEveryNamespaceMeant ? "*" : self.store.configuration.namespace
        return Iterator(store: self.store, namespace: namespace, isWanted: self.isWanted)
    }

    /// Asks for one batch after the other.
    public struct Iterator: AsyncIteratorProtocol {
        /// What a batch is.
        public typealias Element = LeaseBatch
        /// Why there is none.
        public typealias Failure = LeaseStoreError

        fileprivate let store: RedisLeaseStore
        /// As a pattern.
        fileprivate let namespace: String
        fileprivate let isWanted: @Sendable (String, String) -> Bool
        fileprivate var scan = KeyScan()
        fileprivate var seen: Set<LeaseToken> = []

        /// The next batch; `nil` after the last.
        ///
        /// - Throws: `LeaseStoreError`.
        public mutating func next() async throws(LeaseStoreError) -> LeaseBatch? {
            let pattern = Keyspace.pattern(namespace: self.namespace, kind: "lease", name: "*")
            guard let page = try await self.scan.next(matching: pattern, by: self.store) else { return nil }
            let leases = try await self.store.leases(named: page.names, where: self.isWanted)
                .filter { self.seen.insert($0.lease.token).inserted }
            return LeaseBatch(leases: leases, scannedFraction: self.scan.fraction, time: page.time)
        }
    }
}

extension RedisLeaseStore {
    /// The leases of the store's namespace, expired ones that nobody claimed included, in no order, as they are found.
    ///
    /// - Parameters:
    ///   - isEveryNamespaceMeant: whether leases of other namespaces are wanted as well.
    ///   - isWanted: whether the lease of this key is of interest; nothing more is read of the others.
    public func leaseBatches(
        inEveryNamespace isEveryNamespaceMeant: Bool = false,
        where isWanted: @escaping @Sendable (_ group: String, _ key: String) -> Bool = { _, _ in true }
    ) -> LeaseBatches {
        LeaseBatches(store: self, isEveryNamespaceMeant: isEveryNamespaceMeant, isWanted: isWanted)
    }

    /// All of ``leaseBatches(inEveryNamespace:where:)`` at once.
    ///
    /// - Throws: `LeaseStoreError`.
    public func leases(
        where isWanted: @escaping @Sendable (_ group: String, _ key: String) -> Bool = { _, _ in true }
    ) async throws(LeaseStoreError) -> [FoundLease] {
        var found: [FoundLease] = []
        var batches = self.leaseBatches(where: isWanted).makeAsyncIterator()
        while let batch = try await batches.next() {
            found += batch.leases
        }
        return found
    }

    /// Reads the leases of these names, few at a time: commands that are sent in one go keep others waiting as well.
    fileprivate func leases(
        named names: [String],
        where isWanted: (String, String) -> Bool
    ) async throws(LeaseStoreError) -> [FoundLease] {
        var rest = names.compactMap { name in
            LeaseName(name).flatMap { lease in
                lease.flight.text.map { isWanted(lease.flight.group, $0) } ?? true ? lease : nil
            }
        }[...]
        var found: [FoundLease] = []
        while !rest.isEmpty {
            found += try await self.read(rest.prefix(Self.readsAtOnce), where: isWanted)
            rest = rest.dropFirst(Self.readsAtOnce)
        }
        return found
    }

    /// Three commands each, some 2 µs of the server's time.
    private static var readsAtOnce: Int { 100 }

    private func read(
        _ names: ArraySlice<LeaseName>,
        where isWanted: (String, String) -> Bool
    ) async throws(LeaseStoreError) -> [FoundLease] {
        let results = await self.results(
            of: names.flatMap { name in
                let place = RedisOrder.none(in: HashSlot(of: name.lease))
                return [
                    (RedisCommand("GET", .string(name.lease)), place),
                    (RedisCommand("PTTL", .string(name.lease)), place),
                    (RedisCommand("HLEN", .string(name.wait)), place),
                ]
            }
        )
        // A key of another type, where somebody put one, is no lease, and no reason to find none.
        let replies = try results.map { result throws(LeaseStoreError) -> RESPValue in
            switch result {
            case .success(let value): value
            case .failure(let error) where error.serverError?.code == "WRONGTYPE": .null
            case .failure(let error): throw LeaseStoreError(error)
            }
        }
        return names.enumerated().compactMap { index, name in
            guard let record = replies[index * 3].bytes.flatMap(LeaseRecord.init(bytes:)),
                let life = replies[index * 3 + 1].integer, life > 0
            else { return nil }
            let key = name.flight.text ?? record.note.key ?? name.flight.encodedKey
            guard name.flight.text != nil || isWanted(name.flight.group, key) else { return nil }
            return FoundLease(
                namespace: name.namespace,
                group: name.flight.group,
                key: key,
                keyBytes: name.flight.bytes ?? Array(key.utf8),
                lease: LeaseInspection.Lease(record, keyLife: .milliseconds(life)),
                waiterCount: Int(replies[index * 3 + 2].integer ?? 0)
            )
        }
    }
}

/// The names of a lease's keys, read back from the first.
private struct LeaseName {
    var namespace: String
    var lease: String
    var wait: String
    var flight: FlightName

    init?(_ name: String) {
        guard let marker = name.firstRange(of: "}:lease:"), let flight = FlightName(name[marker.upperBound...]),
            let brace = name.firstIndex(of: "{"),
            let partition = name[..<marker.lowerBound].lastIndex(of: ":"), brace < partition
        else { return nil }
        self.namespace = String(name[name.index(after: brace)..<partition])
        self.lease = name
        self.wait = "\(name[..<marker.lowerBound])}:wait:\(name[marker.upperBound...])"
        self.flight = flight
    }
}
