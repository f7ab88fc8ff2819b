package import Singleflight
import Synchronization

/// The flights that callers of one group can join, by key. Only an index: a flight knows its callers and its end itself.
package final class FlightIndex: Sendable {
    private final class Shard: Sendable {
        let flights = Mutex<[FlightKey: FlightDriver]>([:])
    }

    /// What asking for a key comes to.
    package enum Entrance: Sendable {
        /// The caller started a flight, and must begin it.
        case started(FlightDriver)
        case joined(FlightDriver, SeatID)
        case full
        case reentrant
    }

    /// A power of two of them, chosen by the lowest bits of the key's hash.
    private let shards: [Shard]

    init(shardCount: Int = 32) {
        self.shards = (0..<shardCount).map { _ in Shard() }
    }

    /// Joins the flight of `key`, or starts the one that `make` makes. O(1).
    ///
    /// - Parameter make: called under the shard's lock; it must only allocate.
    func enter(_ key: FlightKey, make: () -> FlightDriver) -> Entrance {
        let (entrance, _) = self.shard(of: key).flights.withLock { flights -> (Entrance, FlightDriver?) in
            let found = flights[key]
            switch found?.join() {
            case .seated(let seat): if let found { return (.joined(found, seat), nil) }
            case .full: return (.full, nil)
            case .reentrant: return (.reentrant, nil)
            case .closed, nil: break
            }
            let driver = make()
            if !Planted.bug("flight-that-nobody-can-join") { flights[key] = driver }
            // A closed one is handed out: what it holds must not be let go of under the lock.
            return (.started(driver), found)
        }
        return entrance
    }

    /// Joins the flight of `key`, if there is one. O(1).
    func join(_ key: FlightKey) -> Entrance? {
        let found = self.shard(of: key).flights.withLock { $0[key] }
        guard let found else { return nil }
        switch found.join() {
        case .seated(let seat): return .joined(found, seat)
        case .full: return .full
        case .reentrant: return .reentrant
        case .closed: return nil
        }
    }

    /// Nobody can join the flight any more. O(1).
    func remove(_ driver: FlightDriver) {
        _ = self.shard(of: driver.key).flights.withLock { flights -> FlightDriver? in
            guard flights[driver.key] === driver else { return nil }
            if Planted.bug("closed-flight-stays-listed") { return nil }
            return flights.removeValue(forKey: driver.key)
        }
    }

    /// The number of flights that callers can join.
    package var count: Int {
        self.shards.reduce(0) { count, shard in count + shard.flights.withLock { $0.count } }
    }

    private func shard(of key: FlightKey) -> Shard {
        self.shards[key.hash & (self.shards.count - 1)]
    }
}
