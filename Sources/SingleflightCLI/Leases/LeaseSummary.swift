/// A lease as the commands show it.
package struct LeaseSummary: Codable, Equatable, Sendable {
    /// nil where all leases are of one namespace.
    package var namespace: String?
    /// As ``ByteText``.
    package var key: String
    package var group: String
    /// The label of the process that leads.
    package var leader: String
    /// The flight's name across processes.
    package var token: String
    package var age: Duration
    /// Until the lease ends unless it is renewed; zero when it has.
    package var remaining: Duration
    /// How long the lease lasts from one renewal on; nil where that is not known.
    package var duration: Duration?
    package var renewals: Int
    /// Processes that wait for the outcome.
    package var waiters: Int
    /// What the leader's operation last said of itself.
    package var progress: String?
    /// The share of the work that is done, from 0 to 1, if the operation said.
    package var fraction: Double?
    /// The fields of the leader's span, if it has one.
    package var trace: [String: String]?

    /// The lease has run out, and nobody has claimed the key since.
    package var isExpired: Bool { remaining <= .zero }

    /// Leaders renew every third of a lease: two renewals in a row did not come, and the third is all that is left.
    package var isEndangered: Bool { !isExpired && duration.map { remaining < $0 / 3 } ?? false }

    package init(
        namespace: String? = nil,
        key: String,
        group: String,
        leader: String,
        token: String,
        age: Duration,
        remaining: Duration,
        duration: Duration? = nil,
        renewals: Int = 0,
        waiters: Int = 0,
        progress: String? = nil,
        fraction: Double? = nil,
        trace: [String: String]? = nil
    ) {
        self.namespace = namespace
        self.key = key
        self.group = group
        self.leader = leader
        self.token = token
        self.age = age
        self.remaining = remaining
        self.duration = duration
        self.renewals = renewals
        self.waiters = waiters
        self.progress = progress
        self.fraction = fraction
        self.trace = trace
    }
}

extension LeaseSummary {
    /// The unit is part of the name: a number of JSON has none of its own.
    private enum CodingKeys: String, CodingKey {
        case namespace, key, keyBase64, group, leader, token, ageMilliseconds, remainingMilliseconds,
            leaseMilliseconds, renewals, waiters, progress, fraction, trace, expired
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        namespace = try values.decodeIfPresent(String.self, forKey: .namespace)
        key = try JSONKey.decode(values, .key, .keyBase64)
        group = try values.decode(String.self, forKey: .group)
        leader = try values.decode(String.self, forKey: .leader)
        token = try values.decode(String.self, forKey: .token)
        age = .milliseconds(try values.decode(Int64.self, forKey: .ageMilliseconds))
        remaining = .milliseconds(try values.decode(Int64.self, forKey: .remainingMilliseconds))
        duration = try values.decodeIfPresent(Int64.self, forKey: .leaseMilliseconds).map { .milliseconds($0) }
        renewals = try values.decode(Int.self, forKey: .renewals)
        waiters = try values.decode(Int.self, forKey: .waiters)
        progress = try values.decodeIfPresent(String.self, forKey: .progress)
        fraction = try values.decodeIfPresent(Double.self, forKey: .fraction)
        trace = try values.decodeIfPresent([String: String].self, forKey: .trace)
    }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encodeIfPresent(namespace, forKey: .namespace)
        try JSONKey.encode(key, into: &values, .key, .keyBase64)
        try values.encode(group, forKey: .group)
        try values.encode(leader, forKey: .leader)
        try values.encode(token, forKey: .token)
        try values.encode(age.wholeMilliseconds, forKey: .ageMilliseconds)
        try values.encode(remaining.wholeMilliseconds, forKey: .remainingMilliseconds)
        try values.encodeIfPresent(duration?.wholeMilliseconds, forKey: .leaseMilliseconds)
        try values.encode(renewals, forKey: .renewals)
        try values.encode(waiters, forKey: .waiters)
        try values.encodeIfPresent(progress, forKey: .progress)
        try values.encodeIfPresent(fraction, forKey: .fraction)
        try values.encodeIfPresent(trace, forKey: .trace)
        try values.encode(isExpired, forKey: .expired)
    }
}

extension Duration {
    package var wholeMilliseconds: Int64 {
        components.seconds * 1_000 + components.attoseconds / 1_000_000_000_000_000
    }
}
