/// All flights of one shard, as a value: a hash table whose slots are recycled, and the flights in them.
///
/// A flight is *open* while callers can find it by its key: from its start until it ends or is forgotten. Closed
/// flights keep their slot until nobody can come back to them. All operations cost O(1) in the number of other flights.
///
/// The table owns what users gave it (keys, values, closures), but never lets go of the last reference to any of it:
/// it hands it out as ``Remains``, because a deinitializer is user code and must not run under the shard's lock.
@usableFromInline
struct FlightTable<Key: Hashable & Sendable, Value: Sendable, Waiter: Sendable, Work: Sendable>: Sendable {
    @usableFromInline typealias Flight = FlightState<Value, Waiter, Work>

    @usableFromInline
    struct Slot: Sendable {
        /// Compared with the identity's; 0 while the slot is free.
        @usableFromInline var serial: UInt64
        @usableFromInline var hash: Int
        /// Nil while the slot is free.
        @usableFromInline var key: Key?
        /// The next slot in the same bucket of open flights, or in the list of free slots; -1 at the end. Without
        /// meaning for a closed flight.
        @usableFromInline var next: Int
        @usableFromInline var isOpen: Bool
        @usableFromInline var flight: Flight

        @inlinable
        init(serial: UInt64, hash: Int, key: Key) {
            self.serial = serial
            self.hash = hash
            self.key = key
            self.next = -1
            self.isOpen = true
            self.flight = Flight()
        }

        /// A new flight for `key`. One call, because each access through the array checks that the array is not shared.
        @inlinable
        mutating func occupy(serial: UInt64, hash: Int, key: Key) {
            self.serial = serial
            self.hash = hash
            self.key = key
            self.isOpen = true
        }

        /// The flight has gone: returns its key, and hangs the slot before `next` in the list of free ones.
        @inlinable
        mutating func vacate(next: Int) -> Key? {
            self.serial = 0
            self.next = next
            return self.key.take()
        }
    }

    /// What a transition has removed, to be destroyed outside of the lock.
    @usableFromInline
    struct Remains: Sendable {
        @usableFromInline var key: Key?
        @usableFromInline var outcome: Outcome<Value>?

        @inlinable
        init() {}
    }

    @usableFromInline var slots: [Slot] = []
    @usableFromInline var firstFree = -1
    /// The first slot of each bucket, or -1. Empty, or a power of two of them.
    @usableFromInline var buckets: [Int] = []
    @usableFromInline var lastSerial: UInt64 = 0
    /// How many flights can be found by their key.
    @usableFromInline var openCount = 0
    /// How many slots hold a flight, open or closed.
    @usableFromInline var usedCount = 0

    @inlinable
    init() {}

    // MARK: Callers

    @usableFromInline
    enum Entrance: Sendable {
        /// The caller leads. The seat is its own subscription, if it asked for one.
        case leads(FlightID, SeatID?)
        /// The caller has subscribed to a running flight.
        case subscribed(FlightID, SeatID)
        /// The caller runs inside of the flight that it asked for.
        case reentrant
        /// The flight has all the subscribers it may have.
        case full
    }

    /// A caller asks for `key`: it joins the open flight, or leads a new one.
    ///
    /// - Parameters:
    ///   - hash: the key's hash.
    ///   - leaderSubscribes: whether the caller, if it leads, waits for the outcome like everybody else.
    ///   - limit: how many subscribers a flight may have beside its leader.
    ///   - isInside: whether the caller runs on behalf of the given flight.
    @inlinable
    mutating func enter(
        _ key: Key,
        hash: Int,
        leaderSubscribes: Bool,
        limit: Int?,
        isInside: (FlightID) -> Bool
    ) -> Entrance {
        if let joined = self.join(key, hash: hash, limit: limit, isInside: isInside) { return joined }
        let id = self.open(key, hash: hash)
        guard leaderSubscribes else { return .leads(id, nil) }
        return .leads(id, self.slots[id.slot].flight.subscribe(as: .leader, limit: nil))
    }

    /// A caller joins the open flight of `key`, if there is one. It never leads.
    @inline(__always)
    @inlinable
    mutating func join(_ key: Key, hash: Int, limit: Int?, isInside: (FlightID) -> Bool) -> Entrance? {
        let found = self.find(key, hash: hash)
        guard found >= 0 else { return nil }
        let id = FlightID(slot: found, serial: self.slots[found].serial)
        if isInside(id) { return .reentrant }
        guard let seat = self.slots[found].flight.subscribe(as: .subscriber, limit: limit) else { return .full }
        return .subscribed(id, seat)
    }

    /// Subscribes the leader, or somebody to whom it lends its handle. The flight must still be led.
    @inlinable
    mutating func subscribe(_ id: FlightID) -> SeatID? {
        guard self.holds(id) else { return nil }
        return self.slots[id.slot].flight.subscribe(as: .leader, limit: nil)
    }

    /// See ``FlightState/collect(_:)``.
    @inlinable
    mutating func collect(_ id: FlightID, _ seat: SeatID, _ remains: inout Remains) -> Flight.CollectAction {
        guard self.holds(id) else { return .gone }
        let action = self.slots[id.slot].flight.collect(seat)
        self.settle(id.slot, &remains)
        return action
    }

    /// See ``FlightState/wait(_:_:priority:)``.
    @inlinable
    mutating func wait(
        _ id: FlightID,
        _ seat: SeatID,
        _ waiter: Waiter,
        priority: UInt8,
        _ remains: inout Remains
    ) -> Flight.WaitAction {
        guard self.holds(id) else { return .gone }
        let action = self.slots[id.slot].flight.wait(seat, waiter, priority: priority)
        self.settle(id.slot, &remains)
        return action
    }

    /// See ``FlightState/raise(to:)``.
    @inlinable
    mutating func raise(_ id: FlightID, to priority: UInt8) -> Work? {
        guard self.holds(id) else { return nil }
        return self.slots[id.slot].flight.raise(to: priority)
    }

    /// See ``FlightState/cancelWait(_:)``.
    @inlinable
    mutating func cancelWait(_ id: FlightID, _ seat: SeatID, _ remains: inout Remains) -> Flight.LeaveAction {
        guard self.holds(id) else { return Flight.LeaveAction() }
        let action = self.slots[id.slot].flight.cancelWait(seat)
        self.settle(id.slot, &remains)
        return action
    }

    /// See ``FlightState/leave(_:)``.
    @inlinable
    mutating func leave(_ id: FlightID, _ seat: SeatID, _ remains: inout Remains) -> Flight.LeaveAction {
        guard self.holds(id) else { return Flight.LeaveAction() }
        let action = self.slots[id.slot].flight.leave(seat)
        self.settle(id.slot, &remains)
        return action
    }

    // MARK: The leader

    /// See ``FlightState/attach(_:endsWhenAbandoned:priority:)``.
    @inlinable
    mutating func attach(
        _ id: FlightID,
        _ work: Work,
        endsWhenAbandoned: Bool,
        priority: UInt8,
        _ remains: inout Remains
    ) -> Flight.AttachAction {
        guard self.holds(id) else { return .ignore }
        let action = self.slots[id.slot].flight
            .attach(work, endsWhenAbandoned: endsWhenAbandoned, priority: priority)
        self.settle(id.slot, &remains)
        return action
    }

    /// See ``FlightState/complete(_:)``. With `leaderLeaves`, the leader does not come back after it.
    @inlinable
    mutating func complete(
        _ id: FlightID,
        _ result: Result<Value, any Error>,
        leaderLeaves: Bool,
        _ remains: inout Remains
    ) -> Flight.Departure? {
        guard self.holds(id) else { return nil }
        let departure = self.slots[id.slot].flight.complete(result)
        if leaderLeaves { self.slots[id.slot].flight.isLed = false }
        self.settle(id.slot, &remains)
        return departure
    }

    /// Ends a flight that nobody has joined and whose leader does not come back, as an uncontended call does. Returns
    /// false, and changes nothing, if there is more to it: then ``complete(_:_:leaderLeaves:_:)`` must.
    ///
    /// Nobody can ask for the outcome, so none is made, kept or settled: that was an eighth of an uncontended call.
    @inlinable
    mutating func endUntouched(_ id: FlightID, _ remains: inout Remains) -> Bool {
        guard self.holds(id), self.slots[id.slot].flight.isUntouched else { return false }
        if self.slots[id.slot].isOpen { self.close(id.slot) }
        remains.key = self.free(id.slot)
        return true
    }

    /// See ``FlightState/cancel(_:)``.
    @inlinable
    mutating func cancel(
        _ id: FlightID,
        _ reason: Cancellation,
        _ remains: inout Remains
    ) -> Flight.Departure? {
        guard self.holds(id) else { return nil }
        let departure = self.slots[id.slot].flight.cancel(reason)
        self.settle(id.slot, &remains)
        return departure
    }

    /// See ``FlightState/leaderLeaves()``.
    @inlinable
    mutating func leaderLeaves(_ id: FlightID, _ remains: inout Remains) -> Flight.Departure? {
        guard self.holds(id) else { return nil }
        let departure = self.slots[id.slot].flight.leaderLeaves()
        self.settle(id.slot, &remains)
        return departure
    }

    // MARK: Looking in from outside

    /// Closes the open flight of a key, so that the next caller leads a new one. Those who wait go on waiting.
    @inlinable
    mutating func forget(_ key: Key, hash: Int) -> Bool {
        let found = self.find(key, hash: hash)
        guard found >= 0 else { return false }
        self.close(found)
        return true
    }

    /// How many subscribers the flight has.
    @inlinable
    func subscriberCount(_ id: FlightID) -> Int {
        self.holds(id) ? self.slots[id.slot].flight.seats.occupied : 0
    }

    /// The keys of the open flights, in no order. Linear in the size of the table.
    @inlinable
    var openKeys: [Key] {
        self.slots.compactMap { $0.isOpen ? $0.key : nil }
    }
}
