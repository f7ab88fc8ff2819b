import Singleflight

/// A flight without a lease: the store could not be asked, or the group only observes. Nobody elsewhere hears of it.
///
/// A value without I/O: events and the time come in, ``FlightAction``s go out.
package struct Alone: Sendable {
    /// How long the operation may run; `nil` for any time.
    private let longest: Duration?
    private var tooLongAt: LeaseInstant?
    private var hasStarted = false
    package private(set) var isFinal = false

    package init(longest: Duration?) {
        self.longest = longest
    }

    /// Whether the work goes on.
    package var isWorking: Bool { self.hasStarted && !self.isFinal }

    package mutating func handle(_ event: FlightEvent, now: LeaseInstant) -> FlightActions {
        guard !self.isFinal else { return [] }
        switch event {
        case .start:
            self.hasStarted = true
            self.tooLongAt = self.longest.map { now.advanced(by: $0) }
            return [.startOperation(nil)] + (self.tooLongAt.map { [.wake(at: $0)] } ?? [])
        case .timer:
            guard let tooLongAt, now >= tooLongAt, !Planted.bug("hung-local-run-goes-on") else { return [] }
            return self.end([.cancelOperation(.tooLong), .tell(.tooLong(nil, attempt: 0))])
        case .operationEnded:
            return self.end([.tell(.ranAlone)])
        case .leaderLeft(let reason):
            if Planted.bug("local-leader-cannot-leave") { return [] }
            return self.end([.tell(reason.map { .leaderCanceled(reason: $0) } ?? .leaderLeft)])
        case .abandoned:
            return self.end([.cancelOperation(.abandoned)])
        case .replied, .heard, .progressed, .offered:
            return []
        }
    }

    private mutating func end(_ actions: FlightActions) -> FlightActions {
        self.isFinal = true
        return actions
    }
}
