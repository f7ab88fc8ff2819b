/// What happens to a running operation when the callers that wait for it go away.
///
/// The policy of the call that starts a flight holds for the whole flight.
public enum CancellationPolicy: Sendable, Hashable {
    /// The operation runs in a task of its own, and is canceled when the last caller has left. The default.
    case whenAbandoned

    /// The operation runs in a task of its own, to its end, also when callers leave. Callers may join it even when
    /// nobody waits.
    case never

    /// The operation runs in the task of the caller that starts it, and is canceled with that caller.
    ///
    /// The cheapest policy: no task is created. The caller that leads can leave only when its operation returns, and a
    /// waiting task of higher priority does not raise the operation's. If the operation throws while its task is
    /// canceled, the error belongs to the leader's cancellation and is not shared: the others get
    /// ``Cancellation/leaderLeft``, the leader itself ``Cancellation/callerCanceled``. A value that is
    /// returned despite the cancellation is shared as usual.
    case withLeader
}

/// How a ``Group`` treats its callers.
public struct GroupConfiguration: Sendable, Hashable {
    /// The policy of calls that don't name one. ``CancellationPolicy/whenAbandoned`` unless set.
    public var cancellation: CancellationPolicy

    /// How many callers may wait for one flight beside the one that leads it; `nil` for any number.
    ///
    /// A caller past the bound is refused at once with ``GroupError/Code-swift.struct/tooManyWaiters``.
    public var maximumWaitersPerKey: Int?

    /// Makes a configuration.
    ///
    /// - Parameters:
    ///   - cancellation: the policy of calls that don't name one.
    ///   - maximumWaitersPerKey: how many callers may wait for one flight beside its leader; `nil` for any number.
    public init(cancellation: CancellationPolicy = .whenAbandoned, maximumWaitersPerKey: Int? = nil) {
        self.cancellation = cancellation
        self.maximumWaitersPerKey = maximumWaitersPerKey
    }
}
