import SingleflightRedis

/// The flights of one key as `show` prints them.
package struct FlightDetail: Codable, Equatable, Sendable {
    /// An outcome that is kept for those who ask.
    package struct Outcome: Codable, Equatable, Sendable {
        package var token: String
        /// value, failure, canceled or superseded.
        package var kind: String
        package var remainingMilliseconds: Int64
        /// Whether new callers get it instead of a new flight.
        package var reused: Bool
        /// For how much longer they do.
        package var reuseMilliseconds: Int64?
        package var leader: String?
        package var codec: String?
        package var bytes: Int?
        /// The error, why it was canceled, or who took over.
        package var detail: String?
    }

    /// As ``ByteText``.
    package var key: String
    package var group: String
    package var lease: LeaseSummary?
    /// Inbox ids of the processes that wait.
    package var waiting: [String]
    package var outcomes: [Outcome]
}

extension FlightDetail {
    private enum CodingKeys: String, CodingKey { case key, keyBase64, group, lease, waiting, outcomes }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        key = try JSONKey.decode(values, .key, .keyBase64)
        group = try values.decode(String.self, forKey: .group)
        lease = try values.decodeIfPresent(LeaseSummary.self, forKey: .lease)
        waiting = try values.decode([String].self, forKey: .waiting)
        outcomes = try values.decode([Outcome].self, forKey: .outcomes)
    }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try JSONKey.encode(key, into: &values, .key, .keyBase64)
        try values.encode(group, forKey: .group)
        try values.encodeIfPresent(lease, forKey: .lease)
        try values.encode(waiting, forKey: .waiting)
        try values.encode(outcomes, forKey: .outcomes)
    }

    init(_ flight: FlightInspection) {
        let key = ByteText.text(flight.key.bytes)
        let group = flight.key.group
        let waiters = flight.inspection.waiters.map(\.description).sorted()
        self.init(
            key: key,
            group: group,
            lease: flight.inspection.lease.map { .init($0, key: key, group: group, waiters: waiters.count) },
            waiting: waiters,
            outcomes: flight.outcomes.map(Outcome.init)
        )
    }
}

extension FlightDetail.Outcome {
    fileprivate init(_ outcome: RetainedOutcome) {
        self.init(
            token: outcome.token.description,
            kind: "",
            remainingMilliseconds: outcome.remaining.wholeMilliseconds,
            reused: outcome.isReused,
            reuseMilliseconds: outcome.reuse?.wholeMilliseconds
        )
        switch outcome.content {
        case .superseded(let token):
            kind = "superseded"
            detail = "by \(token)"
        case .outcome(.canceled(let reason)):
            kind = "canceled"
            detail = CancelReason.describe(reason)
        case .outcome(.value(let bytes)):
            kind = "value"
            read(bytes)
        case .outcome(.failure(let bytes)):
            kind = "failure"
            read(bytes)
            detail = StoredPayload(bytes: bytes)?.failure(of: outcome.token).map { "\($0.type): \($0.message)" }
        }
    }

    private mutating func read(_ bytes: [UInt8]) {
        guard let payload = StoredPayload(bytes: bytes) else { return self.bytes = bytes.count }
        (leader, codec, self.bytes) = (payload.leader, payload.codec, payload.body.count)
    }
}

/// Why no result of a flight came, in words.
enum CancelReason {
    static func describe(_ reason: CanceledFlight) -> String {
        switch reason {
        case .leaseExpired: "the lease expired"
        case .supersededTooOften: "taken over too often"
        case .leaderShutDown: "the leader shut down"
        case .leaderLeft: "the leader left"
        case .revoked(let by, let reason): "revoked by \(by)" + (reason.isEmpty ? "" : ": \(reason)")
        }
    }
}
