package import Singleflight

/// What a transition of a flight made necessary outside of its lock. Effects are carried out in the order of the
/// transitions that made them, whichever threads those came from.
///
/// The large ones are indirect, so that a turn stays small.
enum FlightEffect: Sendable {
    /// Tell the observer.
    indirect case observe(ObservedStep)
    /// Hear of the key from now on, as a process that waits.
    case listen
    /// - Parameter at: when the transition was made that asks for it.
    case send(FlightRequest, at: LeaseInstant)
    /// The registration is no reason any more to keep this process among the flight's waiters.
    case stopWaiting(InboxRegistration)
    /// Schedule the flight's one timer, instead of the one before.
    case wake(at: LeaseInstant, serial: UInt64, instead: LeaseTimer?)
    case begin(any FlightOperation, LeaseToken?)
    case cancel(any FlightOperation)
    /// Let go of an operation that has ended: what it holds must not be let go of under the lock.
    case release(any FlightOperation)
    /// Call these handlers, which users gave.
    case call([@Sendable () -> Void])
    case decided(LocalDecision, [@Sendable (LocalDecision) -> Void])
    /// A result was handed in before it was known whether this process leads. Now it does.
    indirect case handIn(Result<ErasedValue, any Error>)
    /// The lease is held, and nobody is there to do the work.
    case giveUp
    /// Callers cannot join any more.
    case close
    /// One caller decodes the outcome for all.
    case decode(FlightWaiter)
    /// The outcome is decoded on a thread of its own.
    case decodeElsewhere
    case resume([Seats<FlightWaiter>.Seat], Settled)
    case notify([@Sendable (Settled) -> Void], Settled)
    case finishFeeds([ProgressFeed])
    /// The parts of the stream are there from now on.
    indirect case tellSource(StreamSource, [any StreamFeeding])
    /// Ask how far the leader is.
    case readProgress
    /// Ask whether the flight waits for what the call is part of.
    indirect case askForCircle(LeaseToken, FlightDriver.Enclosed)
    case letGo(LeaseTimer?, InboxRegistration?)
    /// The effects before have been carried out.
    case next(@Sendable () -> Void)
    /// Nothing is to be done but to let go of what is in here, which may run code of users.
    case discard([@Sendable () -> Void])
}

/// What a turn comes to, in order.
typealias FlightEffects = ShortList<FlightEffect>

/// Hears of everything that happens to one flight in its process: each transition, once, in order.
package protocol FlightObserving: Sendable {
    /// The span that started the flight: what other processes are told if this one leads.
    var trace: TraceContext? { get }

    /// A transition was made, and what follows from it is about to be done. Called outside of all locks, on the thread
    /// of the store or of a caller: must be short.
    func saw(_ step: ObservedStep)
}

/// One transition, as an observer is told of it.
package struct ObservedStep: Sendable {
    package var event: FlightEvent
    package var actions: FlightActions
    package var now: LeaseInstant
    /// Until when the process believed in its lease before.
    package var deadline: LeaseInstant?
}

/// What a flight's first answer from the store made of this process.
package enum LocalDecision: Sendable {
    case leads
    case follows
    /// There is an earlier flight's outcome that is used again.
    case reuses
    /// The flight has ended already; with the error, if the store could not be asked.
    case over(LeaseStoreError?)
}

/// A flight that has ended in this process.
package struct Settled: Sendable {
    package var settlement: Settlement
    /// Whether more than one caller of this process got it.
    package var isShared: Bool
    /// Whether it is an earlier flight's, in the last part of its life: it is to be computed anew.
    var isDueForRefresh = false
}

/// Why a caller that waits is resumed.
package enum Awakening: Sendable {
    /// The flight has ended.
    case settled(Settled)
    /// The flight has ended, and this caller is to decode its outcome for all: see ``FlightDriver/decode()``.
    case decode
    /// The caller has left.
    case left
    /// The caller's task was canceled.
    case canceled
}

/// A caller that waits.
package enum FlightWaiter: Sendable {
    case task(Continuation<Awakening>)
    /// For simulations, whose callers are no tasks.
    case handler(@Sendable (Awakening) -> Void)

    func resume(_ awakening: Awakening) {
        switch self {
        case .task(let continuation): continuation.resume(returning: awakening)
        case .handler(let handler): handler(awakening)
        }
    }
}
