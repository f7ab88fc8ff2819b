import Testing

@testable import Singleflight

@Suite("Flight table")
struct FlightTableTests {
    typealias Table = FlightTable<Int, Int, Int, Int>

    static func lead(_ table: inout Table, _ key: Int, hash: Int? = nil) throws -> FlightID {
        let entrance = table.enter(key, hash: hash ?? key, leaderSubscribes: false, limit: nil) { _ in false }
        guard case .leads(let flight, nil) = entrance else { throw UnexpectedEntry() }
        return flight
    }

    @Test("a slot that is used again does not answer to the flight it held before")
    func identity() throws {
        var table = Table()
        var remains = Table.Remains()
        let first = try Self.lead(&table, 1)
        _ = table.leaderLeaves(first, &remains)
        let second = try Self.lead(&table, 2)
        #expect(first.slot == second.slot)
        #expect(table.complete(first, .success(1), leaderLeaves: true, &remains) == nil)
        #expect(table.subscribe(first) == nil)
        #expect(table.openKeys == [2])
        #expect(table.complete(second, .success(2), leaderLeaves: true, &remains) != nil)
    }

    @Test("keys of one hash are told apart, and removed from any place of their bucket", arguments: 0..<5)
    func collisions(removed: Int) throws {
        var table = Table()
        var remains = Table.Remains()
        let flights = try (0..<5).map { try Self.lead(&table, $0, hash: 42) }
        _ = table.complete(flights[removed], .success(0), leaderLeaves: true, &remains)
        #expect(Set(table.openKeys) == Set(0..<5).subtracting([removed]))
        for key in 0..<5 {
            #expect((table.find(key, hash: 42) >= 0) == (key != removed))
        }
    }

    @Test("a table that has grown finds every key, and gives its memory back when it is empty")
    func growth() throws {
        var table = Table()
        var remains = Table.Remains()
        let flights = try (0..<1000).map { try Self.lead(&table, $0, hash: $0.hashValue) }
        for key in 0..<1000 { #expect(table.find(key, hash: key.hashValue) == flights[key].slot) }
        for flight in flights { _ = table.complete(flight, .success(0), leaderLeaves: true, &remains) }
        #expect(table.slots.isEmpty)
        let next = try Self.lead(&table, 1)
        #expect(next.serial == 1001)
    }

    @Test("a small table recycles its slots instead of growing")
    func recycling() throws {
        var table = Table()
        var remains = Table.Remains()
        for key in 0..<100 {
            let flight = try Self.lead(&table, key)
            _ = table.complete(flight, .success(0), leaderLeaves: true, &remains)
        }
        #expect(table.slots.count == 1)
        #expect(remains.key == 99)
    }
}

/// Random histories of a table, compared with a model that is too simple to be wrong: flights in a list, by serial.
@Suite("Flight table against a model")
struct FlightTableModelTests {
    typealias Table = FlightTable<Int, Int, Int, Int>

    struct ModelFlight {
        var id: FlightID
        var key: Int
        var isOpen = true
        var end: String?
        var isLed = true
        var seats: [SeatID: Int?] = [:]
        var hadSeats = false
        var work: Int?
        var ends = false
    }

    struct Generator: RandomNumberGenerator {
        var state: UInt64

        /// SplitMix64, by Sebastiano Vigna.
        mutating func next() -> UInt64 {
            self.state &+= 0x9E37_79B9_7F4A_7C15
            var z = self.state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
    }

    struct Run {
        var table = Table()
        var remains = Table.Remains()
        var flights: [ModelFlight] = []
        var waiters = 0
        var resumed: [Int: Int] = [:]
        var abandoned: [Int: Int] = [:]
        var random: Generator

        mutating func step(_ step: Int) {
            let key = Int.random(in: 0..<4, using: &self.random)
            switch Int.random(in: 0..<13, using: &self.random) {
            case 0, 1, 2: self.enter(key)
            case 3: self.forget(key)
            case 4, 5: self.onSeat { $0.wait($1, $2) }
            case 6: self.onSeat { $0.collect($1, $2) }
            case 7: self.onSeat { $0.leave($1, $2) }
            case 8: self.onFlight { $0.attach($1) }
            case 9: self.onFlight { $0.end($1, with: "complete") }
            case 10: self.onFlight { $0.end($1, with: "leader left") }
            case 11: self.onFlight { $0.endUntouched($1) }
            default: self.onFlight { $0.subscribe($1) }
            }
            let open = self.flights.filter(\.isOpen)
            #expect(Set(self.table.openKeys) == Set(open.map(\.key)))
            #expect(self.table.openCount == open.count)
            let kept = self.flights.filter { $0.end == nil || $0.isLed || !$0.seats.isEmpty }
            #expect(self.table.usedCount == kept.count)
        }

        mutating func enter(_ key: Int) {
            // All in one bucket, so that chains are long.
            let entrance = self.table.enter(key, hash: 0, leaderSubscribes: false, limit: nil) { _ in false }
            let open = self.flights.firstIndex { $0.isOpen && $0.key == key }
            switch (entrance, open) {
            case (.leads(let id, nil), nil):
                #expect(!self.flights.contains { $0.id == id })
                self.flights.append(ModelFlight(id: id, key: key))
            case (.subscribed(let id, let seat), let open?):
                #expect(self.flights[open].id == id)
                #expect(self.flights[open].seats.updateValue(nil, forKey: seat) == nil)
                self.flights[open].hadSeats = true
            default:
                Issue.record("\(entrance) where the model has \(String(describing: open))")
            }
        }

        mutating func forget(_ key: Int) {
            let open = self.flights.firstIndex { $0.isOpen && $0.key == key }
            #expect(self.table.forget(key, hash: 0) == (open != nil))
            if let open { self.flights[open].isOpen = false }
        }

        mutating func onFlight(_ body: (inout Run, Int) -> Void) {
            guard let index = self.flights.indices.suffix(8).randomElement(using: &self.random) else { return }
            body(&self, index)
        }

        mutating func onSeat(_ body: (inout Run, Int, SeatID) -> Void) {
            self.onFlight { run, index in
                let ids = run.flights[index].seats.keys.sorted { $0.ticket < $1.ticket }
                // Now and then an identity that is not there (any more).
                let stale = SeatID(index: 0, ticket: 999_999)
                body(&run, index, ids.randomElement(using: &run.random) ?? stale)
            }
        }

        mutating func wait(_ index: Int, _ seat: SeatID) {
            if case .some(.some) = self.flights[index].seats[seat] { return }
            let waiter = self.waiters
            self.waiters += 1
            let action = self.table.wait(self.flights[index].id, seat, waiter, priority: 1, &self.remains)
            let known = self.flights[index].seats[seat] != nil
            switch action {
            case .suspend:
                #expect(known && self.flights[index].end == nil)
                self.flights[index].seats[seat] = .some(waiter)
            case .deliver(let outcome):
                #expect(known && self.flights[index].end == Self.text(outcome))
                self.flights[index].seats[seat] = nil
                self.resumed[waiter, default: 0] += 1
            case .gone:
                #expect(!known)
                self.resumed[waiter, default: 0] += 1
            }
        }

        mutating func collect(_ index: Int, _ seat: SeatID) {
            if case .some(.some) = self.flights[index].seats[seat] { return }
            let known = self.flights[index].seats[seat] != nil
            switch self.table.collect(self.flights[index].id, seat, &self.remains) {
            case .wait: #expect(known && self.flights[index].end == nil)
            case .deliver(let outcome):
                #expect(known && self.flights[index].end == Self.text(outcome))
                self.flights[index].seats[seat] = nil
            case .gone: #expect(!known)
            }
        }

        mutating func leave(_ index: Int, _ seat: SeatID) {
            let action = self.table.leave(self.flights[index].id, seat, &self.remains)
            let waiter = self.flights[index].seats.removeValue(forKey: seat) ?? nil
            #expect(action.waiter == waiter)
            if let waiter { self.resumed[waiter, default: 0] += 1 }
            self.abandonIfDeserted(index, action.abandoned)
        }

        mutating func abandonIfDeserted(_ index: Int, _ told: Int?) {
            let flight = self.flights[index]
            guard flight.end == nil, flight.ends, flight.hadSeats, flight.seats.isEmpty else {
                #expect(told == nil)
                return
            }
            #expect(told == flight.work)
            if let told { self.abandoned[told, default: 0] += 1 }
            self.flights[index].end = "abandoned"
            self.flights[index].isOpen = false
        }

        mutating func attach(_ index: Int) {
            let work = index
            let flight = self.flights[index]
            let ends = Bool.random(using: &self.random)
            let action = self.table.attach(flight.id, work, endsWhenAbandoned: ends, priority: 1, &self.remains)
            guard flight.end == nil, flight.work == nil else {
                #expect(action == .ignore)
                return
            }
            self.flights[index].work = work
            self.flights[index].ends = ends
            self.abandonIfDeserted(index, action == .abandon ? work : nil)
        }

        mutating func end(_ index: Int, with end: String) {
            let flight = self.flights[index]
            let departure =
                end == "complete"
                ? self.table.complete(flight.id, .success(1), leaderLeaves: false, &self.remains)
                : self.table.leaderLeaves(flight.id, &self.remains)
            if end != "complete" { self.flights[index].isLed = false }
            guard flight.end == nil else {
                #expect(departure == nil)
                return
            }
            self.flights[index].end = end
            self.flights[index].isOpen = false
            for case .waiting(_, let waiter, _) in departure?.seats ?? [] {
                self.resumed[waiter, default: 0] += 1
            }
            for case (let seat, _?) in flight.seats { self.flights[index].seats[seat] = nil }
        }

        mutating func endUntouched(_ index: Int) {
            let flight = self.flights[index]
            let isUntouched = flight.end == nil && !flight.hadSeats && flight.work == nil
            #expect(self.table.endUntouched(flight.id, &self.remains) == isUntouched)
            guard isUntouched else { return }
            self.flights[index].end = "complete"
            self.flights[index].isOpen = false
            self.flights[index].isLed = false
        }

        mutating func subscribe(_ index: Int) {
            guard self.flights[index].isLed else { return }
            guard let seat = self.table.subscribe(self.flights[index].id) else {
                Issue.record("a flight that is led refused its leader")
                return
            }
            self.flights[index].seats[seat] = .some(nil)
            self.flights[index].hadSeats = true
        }

        mutating func wrapUp() {
            for index in self.flights.indices {
                self.end(index, with: "leader left")
                for seat in self.flights[index].seats.keys { self.leave(index, seat) }
            }
            #expect(self.table.usedCount == 0)
            #expect(self.table.openCount == 0)
            #expect(self.resumed.count == self.waiters)
            #expect(self.resumed.values.allSatisfy { $0 == 1 })
            #expect(self.abandoned.values.allSatisfy { $0 == 1 })
        }

        static func text(_ outcome: Outcome<Int>) -> String {
            switch outcome {
            case .complete: "complete"
            case .canceled(.leaderLeft): "leader left"
            case .canceled(.abandoned): "abandoned"
            case .canceled(let reason): "\(reason)"
            }
        }
    }

    static let seeds = (0..<20).map { _ in UInt64.random(in: .min ... .max) }

    /// A failing seed is printed with the test case; put it in the place of the random ones to see it again.
    @Test("random histories agree with the model, and every waiter is resumed exactly once", arguments: seeds)
    func agreesWithModel(seed: UInt64) {
        var run = Run(random: Generator(state: seed))
        for step in 0..<500 { run.step(step) }
        run.wrapUp()
    }
}
