import Testing

@testable import Singleflight

/// The whole table of the flight's state machine: what every event does in every state.
@Suite("Flight state machine")
struct FlightStateTests {
    typealias Machine = FlightState<Int, String, String>

    enum State: String, CaseIterable {
        /// Nobody has subscribed.
        case fresh
        /// One subscriber, not suspended.
        case seated
        /// One subscriber, suspended.
        case suspended
        /// Work is attached; nobody has subscribed.
        case working
        /// Work is attached; one subscriber, not suspended.
        case workingSeated
        /// Work is attached; one subscriber, suspended.
        case workingSuspended
        /// Work is attached; the one subscriber has left, and that does not end the flight.
        case deserted
        /// Completed; one subscriber has not taken the outcome.
        case untaken
        /// Completed, and the leader is gone; one subscriber has not taken the outcome.
        case untakenUnled
        /// Ended by its last subscriber's leaving.
        case abandoned
    }

    static let events = [
        "subscribe", "collect", "wait", "cancelWait", "leave", "raise", "attach", "complete", "cancel", "leaderLeaves",
    ]

    /// For each state, what each of the events does, and `!` if the flight is finished afterwards, `!!` if it is spent.
    static let table: [State: [String]] = [
        .fresh: ["seat", "gone", "gone", "-", "-", "-", "keep", "resume[]!", "resume[]!", "resume[]!!"],
        .seated: ["seat", "wait", "suspend", "-", "-", "-", "keep", "resume[]!", "resume[]!", "resume[]!"],
        .suspended: [
            "seat", "wait", "trap", "wake", "wake", "-", "raise", "resume[w]!", "resume[w]!", "resume[w]!!",
        ],
        .working: [
            "seat", "gone", "gone", "-", "-", "raise work", "ignore", "resume[] drop!", "resume[] drop!",
            "resume[] drop!!",
        ],
        .workingSeated: [
            "seat", "wait", "suspend raise work", "abandon work!", "abandon work!", "raise work", "ignore",
            "resume[] drop!", "resume[] drop!", "resume[] drop!",
        ],
        .workingSuspended: [
            "seat", "wait", "trap", "wake abandon work!", "wake abandon work!", "raise work", "ignore",
            "resume[w] drop!", "resume[w] drop!", "resume[w] drop!!",
        ],
        .deserted: [
            "seat", "gone", "gone", "-", "-", "raise work", "ignore", "resume[] drop!", "resume[] drop!",
            "resume[] drop!!",
        ],
        .untaken: ["seat!", "deliver!", "deliver!", "-!", "-!", "-!", "ignore!", "no!", "no!", "no!"],
        .untakenUnled: ["seat!", "deliver!!", "deliver!!", "-!", "-!!", "-!", "ignore!", "no!", "no!", "no!"],
        .abandoned: ["seat!", "gone!", "gone!", "-!", "-!", "-!", "ignore!", "no!", "no!", "no!!"],
    ]

    /// The first seat that a machine gives out.
    static let seat = SeatID(index: 0, ticket: 1)

    static func machine(_ state: State) -> Machine {
        var machine = Machine()
        switch state {
        case .fresh, .working: break
        default: _ = machine.subscribe(as: .subscriber, limit: nil)
        }
        switch state {
        case .working, .workingSeated, .workingSuspended, .abandoned:
            _ = machine.attach("work", endsWhenAbandoned: true, priority: 1)
        case .deserted:
            _ = machine.attach("work", endsWhenAbandoned: false, priority: 1)
        case .fresh, .seated, .suspended, .untaken, .untakenUnled: break
        }
        switch state {
        case .suspended, .workingSuspended: _ = machine.wait(Self.seat, "w", priority: 9)
        case .deserted, .abandoned: _ = machine.leave(Self.seat)
        case .untaken, .untakenUnled: _ = machine.complete(.success(7))
        case .fresh, .seated, .working, .workingSeated: break
        }
        if state == .untakenUnled { machine.isLed = false }
        return machine
    }

    static func subscribe(_ machine: inout Machine) throws -> SeatID {
        let seat = machine.subscribe(as: .subscriber, limit: nil)
        return try #require(seat)
    }

    static func apply(_ event: String, to machine: inout Machine) -> String {
        let effect =
            switch event {
            case "subscribe": machine.subscribe(as: .subscriber, limit: nil) == nil ? "full" : "seat"
            case "collect": Self.text(machine.collect(Self.seat))
            case "wait": Self.text(machine.wait(Self.seat, "w", priority: 10))
            case "cancelWait": Self.text(machine.cancelWait(Self.seat))
            case "leave": Self.text(machine.leave(Self.seat))
            case "raise": machine.raise(to: 10).map { "raise \($0)" } ?? "-"
            case "attach": Self.text(machine.attach("more", endsWhenAbandoned: true, priority: 1))
            case "complete": Self.text(machine.complete(.success(8)))
            case "cancel": Self.text(machine.cancel(.leaderLeft))
            default: Self.text(machine.leaderLeaves())
            }
        return effect + (machine.isSpent ? "!!" : machine.isFinished ? "!" : "")
    }

    static func text(_ action: Machine.CollectAction) -> String {
        switch action {
        case .wait: "wait"
        case .deliver: "deliver"
        case .gone: "gone"
        }
    }

    static func text(_ action: Machine.WaitAction) -> String {
        switch action {
        case .suspend(let work): "suspend" + (work.map { " raise \($0)" } ?? "")
        case .deliver: "deliver"
        case .gone: "gone"
        }
    }

    static func text(_ action: Machine.LeaveAction) -> String {
        let parts = [action.waiter.map { _ in "wake" }, action.abandoned.map { "abandon \($0)" }].compactMap { $0 }
        return parts.isEmpty ? "-" : parts.joined(separator: " ")
    }

    static func text(_ action: Machine.AttachAction) -> String {
        switch action {
        case .keep: "keep"
        case .raise: "raise"
        case .abandon: "abandon"
        case .ignore: "ignore"
        }
    }

    static func text(_ departure: Machine.Departure?) -> String {
        guard let departure else { return "no" }
        let waiters = departure.seats.compactMap { seat -> String? in
            guard case .waiting(_, let waiter, _) = seat else { return nil }
            return waiter
        }
        return "resume[\(waiters.joined())]" + (departure.work == nil ? "" : " drop")
    }

    @Test("every event does in every state what the table says", arguments: State.allCases)
    func table(state: State) throws {
        let row = try #require(Self.table[state])
        #expect(row.count == Self.events.count)
        for (event, expected) in zip(Self.events, row) where expected != "trap" {
            var machine = Self.machine(state)
            #expect(Self.apply(event, to: &machine) == expected, "\(event) in \(state)")
        }
    }

    @Test("a second waiter on an occupied seat, which the driver rules out, traps instead of losing the first")
    func secondWaiterTraps() async {
        await #expect(processExitsWith: .failure) {
            var machine = FlightStateTests.machine(.suspended)
            _ = machine.wait(FlightStateTests.seat, "w", priority: 0)
        }
    }

    @Test("attaching work to a flight that everybody has left abandons it at once")
    func attachToDeserted() {
        var machine = Self.machine(.seated)
        _ = machine.leave(Self.seat)
        #expect(machine.attach("work", endsWhenAbandoned: true, priority: 1) == .abandon)
        #expect(machine.isFinished)
    }

    @Test("a seat that is taken again does not answer to its former occupant")
    func seatsHaveIdentity() throws {
        var machine = Machine()
        let first = try Self.subscribe(&machine)
        _ = machine.leave(first)
        let second = try Self.subscribe(&machine)
        #expect(first.index == second.index)
        #expect(Self.text(machine.wait(first, "w", priority: 0)) == "gone")
        _ = machine.leave(first)
        #expect(Self.text(machine.wait(second, "w", priority: 0)) == "suspend")
    }

    @Test("completing resumes the suspended and keeps the outcome for the rest")
    func mixedCompletion() throws {
        var machine = Machine()
        let seats = try (0..<4).map { _ in try Self.subscribe(&machine) }
        _ = machine.wait(seats[1], "b", priority: 0)
        _ = machine.wait(seats[3], "d", priority: 0)
        #expect(Self.text(machine.complete(.success(7))) == "resume[bd]")
        #expect(Self.text(machine.collect(seats[1])) == "gone")
        #expect(Self.text(machine.collect(seats[0])) == "deliver")
        #expect(machine.seats.occupied == 1)
        #expect(machine.seats.subscribers == 1)
    }
}
