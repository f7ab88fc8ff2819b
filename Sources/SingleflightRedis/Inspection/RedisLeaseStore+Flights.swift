import HiredisClient
public import SingleflightLease

/// Everything that Redis knows about the flights of one key.
public struct FlightInspection: Sendable {
    /// The group and the key.
    public var key: FlightKey
    /// The lease and the processes that wait.
    public var inspection: LeaseInspection
    /// Outcomes that are kept for those who ask, the one with the longest life first.
    public var outcomes: [RetainedOutcome]

    /// Creates an inspection.
    public init(key: FlightKey, inspection: LeaseInspection, outcomes: [RetainedOutcome] = []) {
        self.key = key
        self.inspection = inspection
        self.outcomes = outcomes
    }
}

/// An outcome that is kept for those who ask for it.
public struct RetainedOutcome: Sendable {
    /// What is kept.
    public enum Content: Hashable, Sendable {
        /// The flight ended so.
        case outcome(StoredOutcome)
        /// The flight goes on under another token.
        case superseded(by: LeaseToken)
    }

    /// The flight that ended.
    public var token: LeaseToken
    /// What is kept.
    public var content: Content
    /// The time until it is forgotten.
    public var remaining: Duration
    /// The time for which new callers still get it instead of a new flight; `nil` where they do not.
    public var reuse: Duration?
    /// Whether new callers get it instead of a new flight.
    public var isReused: Bool { self.reuse != nil }

    /// Creates an outcome that is kept.
    public init(token: LeaseToken, content: Content, remaining: Duration, reuse: Duration? = nil) {
        self.token = token
        self.content = content
        self.remaining = remaining
        self.reuse = reuse
    }
}

extension RedisLeaseStore {
    /// Finds the flights of `key`: of the group's only, or of every group in the namespace that has any.
    ///
    /// Retained outcomes are not listed anywhere, so this is one pass over the names of all keys in Redis, in small
    /// steps.
    ///
    /// - Throws: `LeaseStoreError`.
    public func flights(of key: String, in group: String? = nil) async throws(LeaseStoreError) -> [FlightInspection] {
        try await self.flights(of: Array(key.utf8), in: group)
    }

    /// The same for a key of any bytes.
    ///
    /// - Throws: `LeaseStoreError`.
    public func flights(
        of key: [UInt8],
        in group: String? = nil
    ) async throws(LeaseStoreError) -> [FlightInspection] {
        let encoded = Keyspace.encode(key).text
        let pattern = Keyspace.pattern(
            namespace: self.configuration.namespace,
            kind: "*",
            name: "\(group ?? "*"):\(KeyScan.literal(encoded))*"
        )
        var scan = KeyScan()
        var tokens: [String: Set<LeaseToken>] = group.map { [$0: []] } ?? [:]
        while let page = try await scan.next(matching: pattern, by: self) {
            for name in page.names {
                guard let (group, token) = Self.read(name, encodedKey: encoded) else { continue }
                tokens[group, default: []].formUnion(token.map { [$0] } ?? [])
            }
        }
        var flights: [FlightInspection] = []
        for (group, tokens) in tokens.sorted(by: { $0.key < $1.key }) {
            let flightKey = try FlightKey(group: group, bytes: key)
            let inspection = try await self.answer(to: InspectRequest(key: flightKey)).get()
            let outcomes = try await self.outcomes(of: flightKey, tokens: Array(tokens))
            guard inspection.lease != nil || !outcomes.isEmpty else { continue }
            flights.append(FlightInspection(key: flightKey, inspection: inspection, outcomes: outcomes))
        }
        return flights
    }

    /// The groups in which somebody leads `key`, sorted. Looks at the names of all keys in Redis, in small steps.
    ///
    /// - Throws: ``LeaseStoreError``.
    package func leadingGroups(of key: [UInt8]) async throws(LeaseStoreError) -> [String] {
        let encoded = Keyspace.encode(key).text
        let pattern = Keyspace.pattern(
            namespace: self.configuration.namespace,
            kind: "lease",
            name: "*:\(KeyScan.literal(encoded))"
        )
        var scan = KeyScan()
        var groups: Set<String> = []
        while let page = try await scan.next(matching: pattern, by: self) {
            for name in page.names {
                if let (group, token) = Self.read(name, encodedKey: encoded), token == nil { groups.insert(group) }
            }
        }
        return groups.sorted()
    }

    /// The group, and the token if it is an outcome's, of a key's name; `nil` for the names of other keys.
    private static func read(_ name: String, encodedKey: String) -> (group: String, token: LeaseToken?)? {
        guard let brace = name.firstRange(of: "}:") else { return nil }
        let rest = name[brace.upperBound...]
        guard let colon = rest.firstIndex(of: ":"), let flight = FlightName(rest[rest.index(after: colon)...]) else {
            return nil
        }
        switch rest[..<colon] {
        case "lease" where flight.encodedKey == encodedKey, "last" where flight.encodedKey == encodedKey:
            return (flight.group, nil)
        case "done" where flight.encodedKey.dropLast(32) == encodedKey + ":":
            return LeaseToken(flight.encodedKey.suffix(32)).map { (flight.group, $0) }
        default:
            return nil
        }
    }

    private func outcomes(of key: FlightKey, tokens: [LeaseToken]) async throws(LeaseStoreError) -> [RetainedOutcome] {
        let names = self.keyspace.names(of: key)
        let replies = try await self.execute(
            [RedisCommand("GET", names.last), RedisCommand("PTTL", names.last)]
                + tokens.flatMap { token in ["GET", "PTTL"].map { RedisCommand($0, names.done(token)) } },
            at: names.place
        )
        let reused = replies[0].bytes.flatMap { LeaseToken(bytes: $0.prefix(32)) }
        let reuse = replies[1].integer.flatMap { $0 > 0 ? Duration.milliseconds($0) : nil }
        var outcomes = tokens.enumerated().compactMap { index, token -> RetainedOutcome? in
            guard let bytes = replies[2 + index * 2].bytes, let life = replies[3 + index * 2].integer, life > 0,
                let content = RetainedOutcome.Content(bytes: bytes)
            else { return nil }
            return RetainedOutcome(
                token: token,
                content: content,
                remaining: .milliseconds(life),
                reuse: token == reused ? reuse : nil
            )
        }
        // What is kept for reuse only stands there itself; what is kept for both is as old.
        if let reused, let reuse, let bytes = replies[0].bytes,
            let content = RetainedOutcome.Content(bytes: Array(bytes.dropFirst(32)))
        {
            let known = outcomes.first { $0.token == reused }?.remaining ?? .zero
            outcomes.removeAll { $0.token == reused }
            outcomes.append(
                RetainedOutcome(token: reused, content: content, remaining: max(known, reuse), reuse: reuse)
            )
        }
        return outcomes.sorted { $0.remaining > $1.remaining }
    }
}

extension RetainedOutcome.Content {
    /// `nil` for a letter that this version does not know.
    fileprivate init?(bytes: [UInt8]) {
        guard let letter = bytes.first else { return nil }
        let payload = Array(bytes.dropFirst())
        if letter == UInt8(ascii: "s") {
            guard let token = LeaseToken(bytes: payload) else { return nil }
            self = .superseded(by: token)
        } else {
            guard let outcome = StoredOutcome(status: letter, payload: payload) else { return nil }
            self = .outcome(outcome)
        }
    }
}

extension KeyScan {
    /// `text` as a pattern that matches nothing else.
    static func literal(_ text: String) -> String {
        var pattern = ""
        for character in text {
            if "*?[]^\\".contains(character) { pattern.append("\\") }
            pattern.append(character)
        }
        return pattern
    }
}
