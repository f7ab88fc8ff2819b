/// Looks whether a flight waits for one of those on whose behalf it is waited for, over any number of others between.
///
/// A value without I/O: the caller reads what ``wanted`` names, and hands over what each of them waits for. `Name` is
/// whatever the store calls a key by.
package struct CircleSearch<Name: Hashable & Sendable>: Sendable {
    /// A flight, led under a token.
    package struct Flight: Hashable, Sendable {
        package var name: Name
        package var token: LeaseToken

        package init(name: Name, token: LeaseToken) {
            self.name = name
            self.token = token
        }
    }

    private struct Way: Sendable {
        var flight: Flight
        /// The names from the first flight to this one.
        var names: [Name]
    }

    /// More than this are not read for one question.
    private static var maximumReads: Int { 32 }

    private let sought: Set<LeaseToken>
    private var ways: [Way]
    private var seen: Set<Flight>

    /// - Parameters:
    ///   - first: the flight that is to be waited for.
    ///   - sought: the tokens of those that are to wait for it.
    package init(from first: Flight, to sought: some Sequence<LeaseToken>) {
        self.sought = Set(sought)
        self.ways = [Way(flight: first, names: [first.name])]
        self.seen = [first]
    }

    /// Whether the first flight itself is one of those that wait.
    package var isClosedAtOnce: Bool { self.sought.contains { $0 == self.ways.first?.flight.token } }

    /// The flights to be read next; none if the search is over.
    package var wanted: [Flight] { self.ways.map(\.flight) }

    /// Takes what each of the ``wanted`` flights waits for. The way to a flight that waits for itself, if it is found.
    package mutating func learned(_ awaited: [[Flight]]) -> [Name]? {
        var next: [Way] = []
        for (way, awaited) in zip(self.ways, awaited) {
            for flight in awaited {
                let names = way.names + [flight.name]
                if self.sought.contains(flight.token) { return names }
                guard self.seen.count < Self.maximumReads, self.seen.insert(flight).inserted else { continue }
                next.append(Way(flight: flight, names: names))
            }
        }
        self.ways = next
        return nil
    }
}
