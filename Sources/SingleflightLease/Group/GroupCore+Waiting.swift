package import Singleflight

/// Calls from inside of an operation: they must not wait for what waits for that operation.
extension FlightContext {
    /// What all flights of a key in this process are to those that wait for it, of whichever group object.
    func node(of key: FlightKey) -> FlightWaits.Node {
        var hasher = Hasher()
        hasher.combine(key)
        hasher.combine(self.store.inbox)
        // Shards are counted from 1: none has the highest bit.
        return FlightWaits.Node(shard: UInt64(bitPattern: Int64(hasher.finalize())) | 1 << 63)
    }

    /// Code on the path begins to wait for the key; why it must not, if so.
    package func wait(for key: FlightKey, on path: FlightPath) -> Result<FlightWaits.Wait, GroupError> {
        let flights = path.flights
        let drivers = flights.map { $0.owner as? FlightDriver }
        if drivers.contains(where: { $0?.isWork(for: key, self.store.inbox) ?? false }) {
            return .failure(GroupError(.reentrantCall, key: key.text))
        }
        let nodes = zip(flights, drivers).map { flight, driver in driver.map { $0.node } ?? flight.node }
        switch FlightWaits.begin(from: nodes, to: self.node(of: key), name: GroupError.text(of: key.text)) {
        case .waits(let wait):
            return .success(wait)
        case .circle(let names):
            return .failure(GroupError(.reentrantCall, key: key.text, path: names.suffix(1) + names))
        }
    }
}

extension FlightDriver {
    /// What this flight is to those that wait for it.
    var node: FlightWaits.Node { self.context.node(of: self.key) }

    /// Whether somebody may yet wait for what the flight's work brings, here or elsewhere, and the key is this one at
    /// the same store.
    ///
    /// Also if nobody here can join it any more: another flight of the key would wait for this one through the store.
    func isWork(for key: FlightKey, _ inbox: InboxID) -> Bool {
        guard case .leased = self.kind else { return false }
        return self.key == key && self.context.store.inbox == inbox && !self.isFinal
    }
}
