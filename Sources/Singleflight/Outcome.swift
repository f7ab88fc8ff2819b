/// How a flight ended for one caller.
public enum Outcome<Value: Sendable>: Sendable {
    /// There is a result: the operation's value or its error.
    case complete(Completion<Value>)

    /// No result will come, and why.
    case canceled(CancellationReason)
}

/// The result of a flight, as one of its callers sees it.
public struct Completion<Value: Sendable>: Sendable {
    /// The operation's value, or the error it threw: the same for every caller.
    public var result: Result<Value, any Error>

    /// Whether more than one caller had the flight's result in hand or was waiting for it when it completed.
    ///
    /// Callers that left before don't count. A leader that computes without subscribing counts as one caller.
    public var isShared: Bool

    /// What this caller was.
    public var role: Role

    /// Makes a completion.
    @inlinable
    public init(result: Result<Value, any Error>, isShared: Bool, role: Role) {
        self.result = result
        self.isShared = isShared
        self.role = role
    }
}

/// What a caller was in its flight.
public enum Role: Sendable, Hashable {
    /// The caller that started the flight.
    case leader

    /// A caller that found the flight running and waited for its outcome.
    case subscriber
}

/// Why a caller gets no result.
public enum CancellationReason: Sendable, CustomStringConvertible {
    /// The leader went away, or was cancelled, without a result.
    case leaderLeft

    /// The task of this very caller was cancelled; the flight may go on for others.
    case callerCancelled

    /// This subscription was left, or its one outcome has been or is being taken by somebody else.
    case left

    /// The last caller had left, which ended the flight, before this one subscribed through the leader.
    case abandoned

    /// The group refused the caller: a re-entrant call, or too many waiting callers.
    case refused(GroupError)

    /// The leader canceled the flight for a reason of its own.
    case custom(any Error)

    /// A short text for logs.
    public var description: String {
        switch self {
        case .leaderLeft: "the leader left"
        case .callerCancelled: "the caller was cancelled"
        case .left: "the subscription is over"
        case .abandoned: "nobody waited any more"
        case .refused(let error): "refused: \(error)"
        case .custom(let error): "canceled: \(error)"
        }
    }

    /// The error that ``Group/value(_:cancellation:operation:)`` throws for this reason.
    @usableFromInline
    func error(key: some Any) -> any Error {
        switch self {
        case .callerCancelled: CancellationError()
        case .refused(let error): error
        case .custom(let error): error
        case .leaderLeft: GroupError(.leaderLeft, key: key)
        case .left: GroupError(.subscriptionOver, key: key)
        case .abandoned: GroupError(.abandoned, key: key)
        }
    }
}

extension Outcome {
    /// The same outcome, as seen by a caller of the given role.
    @inlinable
    func seen(as role: Role) -> Outcome<Value> {
        switch self {
        case .complete(var completion):
            completion.role = role
            return .complete(completion)
        case .canceled:
            return self
        }
    }
}
