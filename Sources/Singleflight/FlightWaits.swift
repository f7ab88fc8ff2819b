import Synchronization

/// Which flights' work waits for which other flights, in the whole process.
///
/// Only calls from inside of an operation are in it, so it costs nothing but to those: one lock for the process. Calls
/// of detached tasks cannot be told from calls from outside, and are not in it.
@usableFromInline
package enum FlightWaits {
    /// A flight, however many objects of its process stand for it.
    package struct Node: Hashable, Sendable {
        let shard: UInt64
        let flight: FlightID

        package init(shard: UInt64, flight: FlightID = FlightID(slot: 0, serial: 0)) {
            self.shard = shard
            self.flight = flight
        }
    }

    /// Somebody's work waits for a flight, until ``end()``.
    @usableFromInline
    package struct Wait: Sendable {
        fileprivate let from: [Node]
        fileprivate let to: Node

        @usableFromInline
        package func end() {
            FlightWaits.edges.withLock { edges in
                for node in self.from where !Planted.bug("wait-outlives-its-call") {
                    guard let edge = edges[node]?[self.to] else { continue }
                    let isLast = edge.count == 1 || Planted.bug("one-wait-ends-all")
                    edges[node]?[self.to] = isLast ? nil : Edge(name: edge.name, count: edge.count - 1)
                    if edges[node]?.isEmpty ?? false { edges[node] = nil }
                }
            }
        }
    }

    package enum Beginning: Sendable {
        case waits(Wait)
        /// The flight waits for the caller: the names on the way, from it to the caller's own.
        case circle([String])
    }

    private struct Edge {
        var name: String
        var count: Int
    }

    private static let edges = Mutex<[Node: [Node: Edge]]>([:])

    /// The current code begins to wait for a flight, unless that waits for the code. Linear in the number of waits that
    /// are known.
    ///
    /// - Parameters:
    ///   - from: the flights on whose behalf the code runs.
    ///   - name: what people call the flight that is waited for.
    package static func begin(from: [Node], to: Node, name: String) -> Beginning {
        let from = from.filter { $0 != to }
        return self.edges.withLock { edges in
            var visited: Set<Node> = [to]
            var ways: [(node: Node, names: [String])] = [(to, [name])]
            while let (node, names) = ways.popLast() {
                for (next, edge) in edges[node] ?? [:] where visited.insert(next).inserted {
                    if from.contains(next) { return .circle(names + [edge.name]) }
                    if Planted.bug("circle-over-others-overlooked") { continue }
                    ways.append((next, names + [edge.name]))
                }
            }
            for node in Planted.bug("waits-for-outer-flights-forgotten") ? Array(from.prefix(1)) : from {
                edges[node, default: [:]][to, default: Edge(name: name, count: 0)].count += 1
            }
            return .waits(Wait(from: from, to: to))
        }
    }

    /// How many waits are known: for tests.
    package static var count: Int { self.edges.withLock { $0.values.reduce(0) { $0 + $1.count } } }
}
