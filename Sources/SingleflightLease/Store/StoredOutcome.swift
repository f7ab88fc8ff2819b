/// How a flight ended, as the store keeps it and every follower gets it.
public enum StoredOutcome: Hashable, Sendable {
    /// The operation returned; the payload is an encoded value.
    case value([UInt8])
    /// The operation threw; the payload is an encoded failure.
    case failure([UInt8])
    /// No result will come.
    case canceled(CanceledFlight)
}

/// Why no result of a flight will come: a fact about the flight, equal for everybody who waits for it.
public enum CanceledFlight: Hashable, Sendable {
    /// The leader's lease ran out: it died, was cut off, or was paused for too long.
    case leaseExpired
    /// The last permitted takeover was lost as well (``LeaderLossPolicy/takeOver(attempts:)``).
    case supersededTooOften
    /// The leader's process shut down.
    case leaderShutDown
    /// The caller that led by hand went away without a result; its process lives on.
    case leaderLeft
    /// Somebody ended the flight from outside, or its leader did for a reason of its own.
    case revoked(by: String, reason: String)
}

extension CanceledFlight {
    /// The form in which the reason is stored; see docs/protocol.md.
    package var wireForm: String {
        switch self {
        case .leaseExpired: "expired"
        case .supersededTooOften: "exhausted"
        case .leaderShutDown: "shutdown"
        case .leaderLeft: "left"
        case .revoked(let by, let reason): "revoked\n\(by.filter { !$0.isNewline })\n\(reason)"
        }
    }

    /// Reads a stored reason. A reason that only a later version knows counts as an expiry: no result will come either
    /// way.
    package init(wireForm: String) {
        // By bytes: to Swift a carriage return and a line feed are one character, which is not a line feed.
        let parts = wireForm.utf8.split(separator: UInt8(ascii: "\n"), maxSplits: 2, omittingEmptySubsequences: false)
            .map { String(Substring($0)) }
        switch parts[0] {
        case "exhausted": self = .supersededTooOften
        case "shutdown": self = .leaderShutDown
        case "left": self = .leaderLeft
        case "revoked" where parts.count == 3: self = .revoked(by: parts[1], reason: parts[2])
        default: self = .leaseExpired
        }
    }
}
