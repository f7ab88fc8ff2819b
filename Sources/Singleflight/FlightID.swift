/// Names one flight within its table. A table never gives out the same identity twice, so a handle that outlives its
/// flight can't reach the one that took its place.
@usableFromInline
package struct FlightID: Hashable, Sendable {
    /// Where the flight is kept; reused after the flight has gone.
    @usableFromInline let slot: Int

    /// Counts the table's flights from 1; compared before the slot is believed.
    @usableFromInline let serial: UInt64

    @inlinable
    package init(slot: Int, serial: UInt64) {
        self.slot = slot
        self.serial = serial
    }
}

/// Names one subscription of a flight.
@usableFromInline
package struct SeatID: Hashable, Sendable {
    /// Where the subscription is kept; reused after it has ended.
    @usableFromInline let index: Int

    /// Counts the flight's subscriptions from 1; compared before the index is believed.
    @usableFromInline let ticket: UInt64

    @inlinable
    package init(index: Int, ticket: UInt64) {
        self.index = index
        self.ticket = ticket
    }
}
