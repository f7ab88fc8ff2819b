/// The subscriptions of one flight. Taking and vacating a seat costs O(1); the memory follows the largest number of
/// simultaneous subscribers, not the number that ever came.
@usableFromInline
package struct Seats<Waiter: Sendable>: Sendable {
    @usableFromInline
    package enum Seat: Sendable {
        /// Free; `next` is the next free seat, or -1.
        case vacant(next: Int)

        /// Somebody has subscribed, and does not wait yet.
        case taken(ticket: UInt64, role: FlightRole)

        /// Somebody is suspended here. The role comes last: in this order a seat takes 24 bytes, else 32.
        case waiting(ticket: UInt64, Waiter, role: FlightRole)
    }

    /// A subscription that has ended.
    @usableFromInline
    package struct Occupant: Sendable {
        @usableFromInline package let role: FlightRole
        @usableFromInline package let waiter: Waiter?

        @inlinable
        init(role: FlightRole, waiter: Waiter?) {
            self.role = role
            self.waiter = waiter
        }
    }

    @usableFromInline var seats: [Seat] = []
    @usableFromInline var firstVacant = -1
    /// How many seats were ever taken, which is the last ticket.
    @usableFromInline package var issued: UInt64 = 0
    /// How many seats are not vacant.
    @usableFromInline package var occupied = 0
    /// How many seats have a waiter.
    @usableFromInline package var waiting = 0
    /// How many seats are occupied in the role of a subscriber.
    @usableFromInline package var subscribers = 0

    @inlinable
    package init() {}

    /// Seats somebody who does not wait yet.
    @inlinable
    package mutating func take(as role: FlightRole) -> SeatID {
        self.issued += 1
        self.occupied += 1
        if role == .subscriber { self.subscribers += 1 }
        let seat = Seat.taken(ticket: self.issued, role: role)
        guard self.firstVacant >= 0, case .vacant(let next) = self.seats[self.firstVacant] else {
            self.seats.append(seat)
            return SeatID(index: self.seats.count - 1, ticket: self.issued)
        }
        let index = self.firstVacant
        self.firstVacant = next
        self.seats[index] = seat
        return SeatID(index: index, ticket: self.issued)
    }

    /// Whether the seat is still the one that was taken under this identity.
    @inlinable
    package func contains(_ id: SeatID) -> Bool {
        guard id.index < self.seats.count else { return false }
        switch self.seats[id.index] {
        case .vacant: return false
        case .taken(let ticket, _), .waiting(let ticket, _, _): return ticket == id.ticket
        }
    }

    /// Suspends the occupant of a seat. Returns false if the seat is no longer its own.
    @inlinable
    package mutating func suspend(_ id: SeatID, _ waiter: Waiter) -> Bool {
        guard self.contains(id) else { return false }
        guard case .taken(let ticket, let role) = self.seats[id.index] else {
            preconditionFailure("a second waiter would overwrite the first")
        }
        self.seats[id.index] = .waiting(ticket: ticket, waiter, role: role)
        self.waiting += 1
        return true
    }

    /// Frees a seat, and returns its occupant; nil if the seat is another's by now.
    @inlinable
    package mutating func vacate(_ id: SeatID) -> Occupant? {
        guard self.contains(id) else { return nil }
        let occupant: Occupant
        switch self.seats[id.index] {
        case .vacant: return nil
        case .taken(_, let role): occupant = Occupant(role: role, waiter: nil)
        case .waiting(_, let waiter, let role): occupant = Occupant(role: role, waiter: waiter)
        }
        self.seats[id.index] = .vacant(next: self.firstVacant)
        self.firstVacant = id.index
        self.occupied -= 1
        if occupant.role == .subscriber { self.subscribers -= 1 }
        if occupant.waiter != nil { self.waiting -= 1 }
        return occupant
    }

    /// Frees the seats of all who are suspended, and returns these seats, perhaps among others.
    ///
    /// Usually everybody is suspended: then the seats are handed over as they are, in O(1). Else it is linear.
    @inlinable
    package mutating func vacateWaiting() -> [Seat] {
        guard self.waiting > 0 else { return [] }
        let leaving = self.seats
        if self.waiting == self.occupied {
            self.seats = []
            self.firstVacant = -1
            self.subscribers = 0
        } else {
            for index in leaving.indices {
                guard case .waiting(_, _, let role) = leaving[index] else { continue }
                self.seats[index] = .vacant(next: self.firstVacant)
                self.firstVacant = index
                if role == .subscriber { self.subscribers -= 1 }
            }
        }
        self.occupied -= self.waiting
        self.waiting = 0
        return leaving
    }

    /// Frees the seat of one who is suspended, the first by index. Linear.
    package mutating func vacateFirstWaiting() -> Occupant? {
        for index in self.seats.indices {
            guard case .waiting(let ticket, _, _) = self.seats[index] else { continue }
            return self.vacate(SeatID(index: index, ticket: ticket))
        }
        return nil
    }

    /// Makes empty seats ready for another flight. A few seats' memory is kept, so that a recycled flight allocates
    /// none.
    @inlinable
    package mutating func reset() {
        self.seats.removeAll(keepingCapacity: self.seats.count <= 8)
        self.firstVacant = -1
        self.issued = 0
    }
}
