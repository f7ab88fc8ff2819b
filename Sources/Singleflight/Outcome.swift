/// How a flight ended for one caller, of a local group or of a distributed one.
public enum Outcome<Value: Sendable>: Sendable, CustomStringConvertible {
    /// There is a result: the operation's value or its error.
    case complete(Completion<Value>)

    /// No result will come, and why.
    case canceled(Cancellation)

    /// The operation's value.
    ///
    /// - Throws: the operation's error; where no result will come, `CancellationError` if this caller's task was
    ///   canceled, ``GroupError`` if the group turned the caller away, the leader's own error if it ended the flight
    ///   with one, and the ``Cancellation`` otherwise.
    @inlinable
    public func get() throws -> Value {
        switch self {
        case .complete(let completion): try completion.result.get()
        case .canceled(let cancellation): throw cancellation.thrown
        }
    }

    /// How the flight ended, on one line that fits a log. Values are not in it: they can be long, and secret.
    public var description: String {
        switch self {
        case .complete(let completion): completion.description
        case .canceled(let cancellation): "canceled: \(cancellation)"
        }
    }

    /// The same outcome with another value.
    package func map<Other: Sendable>(_ transform: (Value) throws -> Other) -> Outcome<Other> {
        switch self {
        case .complete(let completion):
            .complete(
                Completion<Other>(
                    result: completion.result.flatMap { value in Result { try transform(value) } },
                    isShared: completion.isShared,
                    role: completion.role,
                    details: completion.details
                )
            )
        case .canceled(let cancellation):
            .canceled(cancellation)
        }
    }

    /// The same outcome, as seen by a caller of the given role.
    @inlinable
    func seen(as role: FlightRole) -> Outcome<Value> {
        switch self {
        case .complete(var completion):
            completion.role = role
            return .complete(completion)
        case .canceled:
            return self
        }
    }
}

/// The result of a flight, as one of its callers sees it.
public struct Completion<Value: Sendable>: Sendable, CustomStringConvertible {
    /// What another layer knows of the flight beside its result; `nil` for a flight of a local group.
    ///
    /// First, so that what follows needs no padding: an outcome is copied for every caller.
    @usableFromInline package let details: (any AnyObject & Sendable)?

    /// The operation's value, or the error it threw: the same for every caller of a process.
    public var result: Result<Value, any Error>

    /// Whether more than one caller had the flight's result in hand or was waiting for it when it completed.
    ///
    /// Callers that left before don't count. A leader that computes without subscribing counts as one caller.
    public var isShared: Bool

    /// What this caller was.
    public var role: FlightRole

    /// Makes a completion of a flight in this process.
    @inlinable
    public init(result: Result<Value, any Error>, isShared: Bool, role: FlightRole) {
        self.init(result: result, isShared: isShared, role: role, details: nil)
    }

    /// What came of the flight, on one line that fits a log. The value is not in it: it can be long, and secret.
    public var description: String {
        let result: String =
            switch self.result {
            case .success: "a value"
            case .failure(let error): "an error: " + String(line: "\(error)")
            }
        let details = (self.details as? any CustomStringConvertible).map { ", \($0)" } ?? ""
        return "\(result) (\(self.role)\(self.isShared ? ", shared" : "")\(details))"
    }

    @usableFromInline
    package init(
        result: Result<Value, any Error>,
        isShared: Bool,
        role: FlightRole,
        details: (any AnyObject & Sendable)?
    ) {
        self.details = details
        self.result = result
        self.isShared = isShared
        self.role = role
    }
}

/// What a caller was in its flight.
public enum FlightRole: Hashable, Sendable {
    /// The caller that started the flight, and whose operation ran.
    case leader

    /// A caller that found the flight running in its process and waited for its outcome.
    case subscriber

    /// A caller in another process than the leader's. Distributed groups only.
    case follower

    /// A caller that found the flight over, and its result kept for reuse: nothing ran, and nothing was waited for.
    /// Distributed groups only.
    case reused
}
