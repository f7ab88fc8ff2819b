/// The flights on whose behalf the current task runs, innermost first: what makes a re-entrant call detectable.
///
/// It is a task-local value, so child tasks and tasks made by an operation inherit it. The innermost flight is stored
/// in place; only nested flights cost an allocation.
@usableFromInline
struct FlightPath: Sendable {
    /// Where the current path is bound. Written out, as the macro's projection could not be inlined.
    @usableFromInline static let local = TaskLocal<FlightPath?>(wrappedValue: nil)

    /// The path of the code that asks.
    @inlinable
    static var current: FlightPath? { self.local.get() }

    private final class Outer: Sendable {
        let path: FlightPath

        init(_ path: FlightPath) {
            self.path = path
        }
    }

    private let shard: UInt64
    private let flight: FlightID
    private let outer: Outer?

    /// The path of an operation of `flight`, called from where `outer` was current.
    @usableFromInline
    init(shard: UInt64, flight: FlightID, outer: FlightPath?) {
        self.shard = shard
        self.flight = flight
        self.outer = outer.map(Outer.init)
    }

    /// Whether code on this path would wait for itself if it waited for `flight`. Linear in the depth of the nesting.
    @usableFromInline
    func contains(shard: UInt64, flight: FlightID) -> Bool {
        var path = self
        while true {
            if path.shard == shard, path.flight == flight { return true }
            guard let outer = path.outer else { return false }
            path = outer.path
        }
    }
}
