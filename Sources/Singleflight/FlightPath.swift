/// The flights on whose behalf the current task runs, innermost first: what makes a re-entrant call detectable.
///
/// It is a task-local value, so child tasks and tasks made by an operation inherit it. The innermost flight is stored
/// in place; only nested flights cost an allocation.
///
/// Outside of all flights it is ``outside`` and not nil: an optional would be copied by the runtime's generic code.
@usableFromInline
package struct FlightPath: Sendable {
    /// Where the current path is bound. Written out, as the macro's projection could not be inlined.
    @usableFromInline package static let local = TaskLocal<FlightPath>(wrappedValue: .outside)

    /// The path of code that runs on behalf of no flight. Shards are numbered from 1.
    @inlinable
    package static var outside: FlightPath { FlightPath(shard: 0, flight: FlightID(slot: 0, serial: 0)) }

    /// The path of the code that asks.
    @inlinable
    package static var current: FlightPath { self.local.get() }

    @usableFromInline
    final class Outer: Sendable {
        @usableFromInline let path: FlightPath

        @inlinable
        init(_ path: FlightPath) {
            self.path = path
        }
    }

    @usableFromInline let shard: UInt64
    @usableFromInline let flight: FlightID
    @usableFromInline let outer: Outer?
    /// What knows more of the flight, for a flight that is in no shard.
    @usableFromInline let owner: (any AnyObject & Sendable)?

    @inlinable
    init(shard: UInt64, flight: FlightID) {
        self.shard = shard
        self.flight = flight
        self.outer = nil
        self.owner = nil
    }

    /// The path of an operation of `flight`, called from where `outer` was current.
    @inlinable
    package init(
        shard: UInt64,
        flight: FlightID,
        outer: FlightPath,
        owner: (any AnyObject & Sendable)? = nil
    ) {
        self.shard = shard
        self.flight = flight
        self.owner = owner
        self.outer = outer.shard == 0 ? nil : Outer(outer)
    }

    /// Whether the code runs on behalf of no flight.
    @inlinable
    package var isOutside: Bool { self.shard == 0 }

    /// The flights of the path, innermost first.
    package var flights: [(node: FlightWaits.Node, owner: (any AnyObject & Sendable)?)] {
        var flights: [(node: FlightWaits.Node, owner: (any AnyObject & Sendable)?)] = []
        var next: FlightPath? = self.isOutside ? nil : self
        while let path = next {
            flights.append((FlightWaits.Node(shard: path.shard, flight: path.flight), path.owner))
            next = path.outer?.path
        }
        return flights
    }

    /// Whether code on this path would wait for itself if it waited for `flight`. Linear in the depth of the nesting.
    @usableFromInline
    package func contains(shard: UInt64, flight: FlightID) -> Bool {
        var path = self
        while true {
            if path.shard == shard, path.flight == flight { return true }
            guard let outer = path.outer else { return false }
            path = outer.path
        }
    }
}
