/// Where an `exec` stands: what a signal, the end of its patience and the lease mean depends on it. A value without
/// I/O.
package struct ExecPhase: Sendable {
    /// Why we do not wait any longer.
    package enum Departure: Equatable, Sendable {
        case signal(Int32)
        case waitedLongEnough
    }

    /// What is to be done about a signal.
    package enum SignalAction: Equatable, Sendable {
        case forward
        case leave
        /// Stop this process: there is no command yet that would be stopped with it.
        case stop
        case none
    }

    private enum State: Sendable {
        /// Somebody else leads, or it is not known who. → starting, left
        case waiting
        /// We lead; signals are kept for the command. → running, ended
        case starting(signals: [Int32])
        /// The command runs. → ended
        case running
        /// The command is over. Final.
        case ended
        /// We did not lead and do not wait any more. Final.
        case left(Departure)
    }

    private var state = State.waiting

    package init() {}

    /// The lease is ours; false if we have left, and nothing is to be started.
    package mutating func lead() -> Bool {
        guard case .waiting = state else { return false }
        state = .starting(signals: [])
        return true
    }

    /// The command has started; these signals came meanwhile.
    package mutating func started() -> [Int32] {
        guard case .starting(let signals) = state else { return [] }
        state = .running
        return signals
    }

    package mutating func ended() { state = .ended }

    package mutating func signaled(_ number: Int32, _ effect: SignalEffect) -> SignalAction {
        switch state {
        case .running: return .forward
        case .starting(let signals):
            state = .starting(signals: signals + [number])
            return .none
        case .waiting:
            switch effect {
            case .ends:
                state = .left(.signal(number))
                return .leave
            case .stops: return .stop
            case .informs: return .none
            }
        case .ended, .left: return .none
        }
    }

    /// The time to wait is over; true if that means to leave.
    package mutating func waitedLongEnough() -> Bool {
        guard case .waiting = state else { return false }
        state = .left(.waitedLongEnough)
        return true
    }

    package var departure: Departure? {
        if case .left(let departure) = state { departure } else { nil }
    }

    var isWaiting: Bool { if case .waiting = state { true } else { false } }

    /// Whether a command was to run here.
    package var hasLed: Bool {
        switch state {
        case .starting, .running, .ended: true
        case .waiting, .left: false
        }
    }

    /// What a signal does to a process that does not care.
    package enum SignalEffect: Sendable {
        case ends, stops, informs
    }
}
