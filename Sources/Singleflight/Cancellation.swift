/// Why a caller gets no result, in a local group or in a distributed one.
///
/// Compare it with the values below, or switch over its ``code``; more codes may come.
public struct Cancellation: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kinds of reasons; more may come.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        @usableFromInline
        enum Kind: String, Sendable {
            case leaderLeft = "leader-left"
            case callerCanceled = "caller-canceled"
            case noFlight = "no-flight"
            case left
            case abandoned
            case refused
            case custom
            case waitLimitReached = "wait-limit-reached"
            case leaseExpired = "lease-expired"
            case leaseLost = "lease-lost"
            case supersededTooOften = "superseded-too-often"
            case leaderShutDown = "leader-shut-down"
            case revoked
            case storeLostFlight = "store-lost-flight"
        }

        @usableFromInline let kind: Kind

        @usableFromInline
        init(_ kind: Kind) {
            self.kind = kind
        }

        /// See ``Cancellation/leaderLeft``.
        public static let leaderLeft = Code(.leaderLeft)
        /// See ``Cancellation/callerCanceled``.
        public static let callerCanceled = Code(.callerCanceled)
        /// See ``Cancellation/noFlight``.
        public static let noFlight = Code(.noFlight)
        /// See ``Cancellation/left``.
        public static let left = Code(.left)
        /// See ``Cancellation/abandoned``.
        public static let abandoned = Code(.abandoned)
        /// See ``Cancellation/refused(_:)``.
        public static let refused = Code(.refused)
        /// See ``Cancellation/custom(_:)``.
        public static let custom = Code(.custom)
        /// See ``Cancellation/waitLimitReached``.
        public static let waitLimitReached = Code(.waitLimitReached)
        /// See ``Cancellation/leaseExpired``.
        public static let leaseExpired = Code(.leaseExpired)
        /// See ``Cancellation/leaseLost``.
        public static let leaseLost = Code(.leaseLost)
        /// See ``Cancellation/supersededTooOften``.
        public static let supersededTooOften = Code(.supersededTooOften)
        /// See ``Cancellation/leaderShutDown``.
        public static let leaderShutDown = Code(.leaderShutDown)
        /// See ``Cancellation/revoked(by:reason:)``.
        public static let revoked = Code(.revoked)
        /// See ``Cancellation/storeLostFlight``.
        public static let storeLostFlight = Code(.storeLostFlight)

        /// The code in a word without anything that people wrote: one of few, fit for a metric, a span or a log line.
        public var description: String { self.kind.rawValue }
    }

    /// What only some reasons have. By reference: an outcome is copied for every caller.
    @usableFromInline
    final class Details: Sendable {
        let by: String?
        let reason: String?
        let error: (any Error)?

        init(by: String? = nil, reason: String? = nil, error: (any Error)? = nil) {
            self.by = by
            self.reason = reason
            self.error = error
        }
    }

    /// What kind of reason it is.
    public let code: Code

    @usableFromInline let details: Details?

    @usableFromInline
    init(_ kind: Code.Kind, _ details: Details? = nil) {
        self.code = Code(kind)
        self.details = details
    }

    /// The label of the process that ended the flight, for ``revoked(by:reason:)``.
    public var by: String? { self.details?.by }

    /// What the process that ended the flight gave as its reason, for ``revoked(by:reason:)``.
    public var reason: String? { self.details?.reason }

    /// The error beneath, for ``refused(_:)`` and ``custom(_:)``.
    public var underlying: (any Error)? { self.details?.error }

    // MARK: Callers

    /// The task of this very caller was canceled; the flight goes on for the others.
    public static let callerCanceled = Cancellation(.callerCanceled)

    /// This caller had left its flight, or its one outcome has been or is being taken by another task.
    public static let left = Cancellation(.left)

    /// This caller waited as long as it wanted to; the flight goes on for the others.
    public static let waitLimitReached = Cancellation(.waitLimitReached)

    /// There was no flight to follow.
    public static let noFlight = Cancellation(.noFlight)

    /// The caller was turned away at once: a re-entrant call, or too many waiting already.
    public static func refused(_ error: GroupError) -> Cancellation {
        Cancellation(.refused, Details(error: error))
    }

    // MARK: Flights

    /// The caller that led went away without a result, here or elsewhere.
    public static let leaderLeft = Cancellation(.leaderLeft)

    /// Nobody waited for the flight any more, here or elsewhere, before this caller asked how it ended.
    public static let abandoned = Cancellation(.abandoned)

    /// The leader ended a flight of a local group with this error.
    public static func custom(_ error: any Error) -> Cancellation {
        Cancellation(.custom, Details(error: error))
    }

    // MARK: Flights across processes

    /// The leader's lease ran out: its process died, was cut off, or was paused for too long.
    public static let leaseExpired = Cancellation(.leaseExpired)

    /// This process led and lost its lease before its result was accepted; another process may lead now.
    public static let leaseLost = Cancellation(.leaseLost)

    /// The last permitted takeover was lost as well.
    public static let supersededTooOften = Cancellation(.supersededTooOften)

    /// The leader's process shut down, or this one did.
    public static let leaderShutDown = Cancellation(.leaderShutDown)

    /// The flight was ended from outside, or by its leader for a reason of its own. A leader that does not hear of it learns
    /// it from the store's next answer, to a renewal or its result, as long as the outcome is kept; after that it is
    /// ``leaseLost``.
    public static func revoked(by label: String, reason: String) -> Cancellation {
        Cancellation(.revoked, Details(by: label, reason: reason))
    }

    /// The store has lost the flight: it restarted without its data, was flushed, or evicted it; or this process could not
    /// ask for the outcome as long as it was kept.
    public static let storeLostFlight = Cancellation(.storeLostFlight)

    // MARK: As an error

    /// What a caller that wants a value gets instead: see ``Outcome/get()``.
    @usableFromInline
    var thrown: any Error {
        switch self.code.kind {
        case .callerCanceled: CancellationError()
        case .refused, .custom: self.underlying ?? self
        case .leaderLeft, .noFlight, .left, .abandoned, .waitLimitReached, .leaseExpired, .leaseLost,
            .supersededTooOften,
            .leaderShutDown, .revoked, .storeLostFlight:
            self
        }
    }

    /// Whether both are of one code, by the same process for the same reason, with errors of the same description beneath.
    public static func == (left: Cancellation, right: Cancellation) -> Bool {
        guard left.code == right.code else { return false }
        guard left.details !== right.details else { return true }
        return left.by == right.by && left.reason == right.reason
            && left.underlying.map { "\($0)" } == right.underlying.map { "\($0)" }
    }

    /// Feeds the code, and the process and the reason if there are any.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.code)
        hasher.combine(self.by)
        hasher.combine(self.reason)
    }

    /// A short sentence for people.
    public var description: String {
        switch self.code.kind {
        case .leaderLeft: "the leader left"
        case .callerCanceled: "the caller was canceled"
        case .noFlight: "there was no flight"
        case .left: "the caller had left"
        case .abandoned: "nobody waited any more"
        case .refused: "refused: \(self.underlying.map { "\($0)" } ?? "")"
        case .custom: "canceled: \(self.underlying.map { "\($0)" } ?? "")"
        case .waitLimitReached: "the wait limit was reached"
        case .leaseExpired: "the leader's lease expired"
        case .leaseLost: "the lease was lost"
        case .supersededTooOften: "the leader was lost too often"
        case .leaderShutDown: "the leader shut down"
        case .revoked: "revoked by \(self.by ?? "")" + (self.reason?.isEmpty ?? true ? "" : ": \(self.reason ?? "")")
        case .storeLostFlight: "the store lost the flight"
        }
    }
}
