import HiredisClient
public import SingleflightLease

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A step in the life of a flight, as the script that took it published it.
public struct LeaseEvent: Hashable, Sendable {
    /// What happened.
    public enum Change: Hashable, Sendable {
        /// A process began to lead.
        case acquired
        /// A process leads on where the leader of this token was lost.
        case takenOver(from: LeaseToken)
        /// The leader prolonged its lease.
        case renewed
        /// A process began to wait.
        case joined(InboxID)
        /// A process waits no more.
        case left(InboxID)
        /// The operation returned.
        case completed
        /// The operation threw; `nil` if the error is too long for an event.
        case failed(RemoteFailure?)
        /// No result will come.
        case canceled(CanceledFlight)
        /// The leader gave the lease up without a result: nobody waited, or somebody is to take over.
        case released
    }

    /// What happened.
    public var change: Change
    /// The flight.
    public var token: LeaseToken
    /// The group's name.
    public var group: String
    /// The key as text; its digest, if the key is too long to be a name and the leader's note does not tell it.
    public var key: String
    /// The server's time, since 1970, in whole milliseconds.
    public var time: Duration
    /// The number of takeovers of the flight so far.
    public var attempt: Int
    /// The processes that waited for the flight, or were told of its end.
    public var waiters: Int
    /// What the leader says about itself. The age is as of the event, as far as the leader's and the server's clocks
    /// agree.
    public var note: LeaseNote

    /// Creates an event.
    public init(
        _ change: Change,
        token: LeaseToken,
        group: String,
        key: String,
        time: Duration,
        attempt: Int = 0,
        waiters: Int = 0,
        note: LeaseNote
    ) {
        self.change = change
        self.token = token
        self.group = group
        self.key = key
        self.time = time
        self.attempt = attempt
        self.waiters = waiters
        self.note = note
    }
}

/// What ``RedisLeaseStore/events()`` tells.
public enum LeaseEventUpdate: Hashable, Sendable {
    /// Events are seen from here on. The first update; each further one means that events before it may have been
    /// missed.
    case resumed
    /// The connection was lost. Nothing is heard until the next ``resumed``.
    case interrupted
    /// Something happened.
    case event(LeaseEvent)
}

extension LeaseEvent {
    /// Reads a published event; `nil` for whatever this version does not understand. The layout is in docs/protocol.md:
    ///
    /// ```
    /// "2" kind token " " milliseconds " " attempt " " waiters " " group ":" key LF note LF detail
    /// ```
    init?(bytes: [UInt8]) {
        let lines = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 2, omittingEmptySubsequences: false)
        guard lines.count == 3, lines[0].count > 34, lines[0].first == UInt8(ascii: "2"),
            let token = LeaseToken(bytes: lines[0].dropFirst(2).prefix(32)),
            let change = Change(kind: lines[0][1], detail: Array(lines[2]), token: token)
        else { return nil }
        let fields = lines[0].dropFirst(34).split(separator: UInt8(ascii: " "))
        guard fields.count == 4, let milliseconds = Int64(decimal: fields[0]), let attempt = Int(decimal: fields[1]),
            let waiters = Int(decimal: fields[2]),
            let name = FlightName(String(decoding: fields[3], as: UTF8.self)[...])
        else { return nil }
        let note = LeaseRecord.Note(json: lines[1])
        self.init(
            change,
            token: token,
            group: name.group,
            key: name.text ?? note.key ?? name.encodedKey,
            time: .milliseconds(milliseconds),
            attempt: attempt,
            waiters: waiters,
            note: note.leaseNote(at: milliseconds)
        )
    }
}

extension LeaseEvent.Change {
    fileprivate init?(kind: UInt8, detail: [UInt8], token: LeaseToken) {
        switch kind {
        case UInt8(ascii: "a"): self = .acquired
        case UInt8(ascii: "r"): self = .renewed
        case UInt8(ascii: "v"): self = .completed
        case UInt8(ascii: "l"): self = .released
        case UInt8(ascii: "e"): self = .failed(StoredPayload(bytes: detail)?.failure(of: token))
        case UInt8(ascii: "c"): self = .canceled(CanceledFlight(wireForm: String(decoding: detail, as: UTF8.self)))
        case UInt8(ascii: "t"):
            guard let lost = LeaseToken(bytes: detail) else { return nil }
            self = .takenOver(from: lost)
        case UInt8(ascii: "j"), UInt8(ascii: "q"):
            guard let inbox = InboxID(String(decoding: detail, as: UTF8.self)) else { return nil }
            self = kind == UInt8(ascii: "j") ? .joined(inbox) : .left(inbox)
        default: return nil
        }
    }
}
