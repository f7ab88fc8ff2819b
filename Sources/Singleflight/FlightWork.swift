public import Synchronization

/// What another layer of this package does on behalf of a flight: for groups that stand in front of something else.
///
/// Both methods are called outside of all locks, on the thread of whoever caused them.
@usableFromInline
package protocol FlightWork: AnyObject, Sendable {
    /// Nobody waits any more, and the flight has ended. Called at most once.
    func abandon()

    /// Somebody of this priority waits: higher than any before.
    func raise(to priority: TaskPriority)
}

/// What ``Group/entry(_:work:)`` makes of a caller.
@usableFromInline
package enum WorkEntry<Key: Hashable & Sendable, Value: Sendable, Made: FlightWork>: Sendable {
    /// The caller leads, and has subscribed to its own flight; its work is attached to it.
    case leader(Leader<Key, Value>, Subscriber<Key, Value>, Made)

    /// The caller waits for a flight that runs already, on whose behalf `Made` works.
    case subscriber(Subscriber<Key, Value>, Made)

    /// The group refused the caller.
    case refused(GroupError)
}

extension Group {
    /// Like ``entry(_:)``, for a flight that ends when nobody waits any more and whose work every caller gets to know.
    ///
    /// The work is attached and the leader subscribed in the critical section in which the flight begins: whoever joins
    /// finds both. All flights of the group must be started by this method, with work of one type.
    ///
    /// - Parameter make: makes the work. Called under the shard's lock if the caller leads; it must only allocate.
    @inlinable
    package func entry<Made: FlightWork>(_ key: Key, work make: () -> Made) -> WorkEntry<Key, Value, Made> {
        let hash = key.hashValue
        let shard = self.shard(for: hash)
        let limit = self.configuration.maximumWaitersPerKey
        let (entrance, work) = shard.enter(key, hash: hash, limit: limit, work: make)
        switch (entrance, work) {
        case (.leads(let flight, let seat), .some(let work)):
            let leader = Leader(key: key, shard: shard, flight: flight)
            return .leader(leader, Subscriber(key: key, shard: shard, flight: flight, seat: seat), work)
        case (.subscribed(let flight, let seat), .some(let work)):
            return .subscriber(Subscriber(key: key, shard: shard, flight: flight, seat: seat), work)
        case (.full, _):
            return .refused(GroupError(.tooManyWaiters, key: key, limit: limit))
        case (.reentrant, _):
            return .refused(GroupError(.reentrantCall, key: key))
        case (.leads, nil), (.subscribed, nil):
            preconditionFailure("a flight of a group of this kind was started without work")
        }
    }
}

extension Leader {
    /// Publishes the result, like ``complete(_:)``. Returns whether more than one caller got it, or nil if the flight had
    /// ended before.
    @inlinable
    package func publish(_ result: Result<Value, any Error>) -> Bool? {
        self.shard.complete(self.flight, result, leaderLeaves: false)
    }
}

extension Leader {
    /// Publishes the result, like ``publish(_:)``, and gives the leader up: it subscribes nobody afterwards.
    @inlinable
    package func publishAndLeave(_ result: Result<Value, any Error>) -> Bool? {
        guard !self.hasLeft.exchange(true, ordering: .relaxed) else { return nil }
        if let isShared = self.shard.complete(self.flight, result, leaderLeaves: true) { return isShared }
        self.shard.leaderLeaves(self.flight)
        return nil
    }
}

extension Shard {
    /// Like ``enter(_:hash:leaderSubscribes:limit:)``, with the flight's work, which is made if the caller leads.
    @inlinable
    func enter<Made: FlightWork>(
        _ key: Key,
        hash: Int,
        limit: Int?,
        work make: () -> Made
    ) -> (Table.Entrance, Made?) {
        let priority = Task.currentPriority.rawValue
        var remains = Table.Remains()
        return self.table.withLock { table in
            let entrance = table.enter(key, hash: hash, leaderSubscribes: true, limit: limit) { flight in
                FlightPath.current.contains(shard: self.number, flight: flight)
            }
            switch entrance {
            case .leads(let flight, _):
                let made = make()
                // The leader's own seat is taken: the flight can't be abandoned yet, nor be more urgent than its caller.
                _ = table.attach(flight, .owner(made), endsWhenAbandoned: true, priority: priority, &remains)
                return (entrance, made)
            case .subscribed(let flight, _):
                guard case .owner(let work) = table.work(flight) else { return (entrance, nil) }
                return (entrance, work as? Made)
            case .reentrant, .full:
                return (entrance, nil)
            }
        }
    }
}

extension FlightTable {
    /// What is attached to the flight.
    @inlinable
    func work(_ id: FlightID) -> Work? {
        self.holds(id) ? self.slots[id.slot].flight.work : nil
    }
}
