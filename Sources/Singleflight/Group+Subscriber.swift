public import Synchronization

extension Group {
    /// One caller's place in a flight.
    ///
    /// Counts among the flight's subscribers from its creation until it has its outcome, leaves, or goes away. Safe to
    /// use from any thread.
    public final class Subscriber: Sendable {
        @usableFromInline
        enum Subscription: Sendable {
            case seated(FlightID, SeatID)
            case refused(Cancellation)
        }

        /// What is being computed.
        public let key: Key

        @usableFromInline let shard: Shard<Key, Value>
        @usableFromInline let subscription: Subscription
        /// The outcome is for one caller: a second one must not take the first one's place, nor cancel its wait.
        @usableFromInline let isAwaited = Atomic(false)
        /// Saves the deinitializer the work: that of a generic class is not specialized, and looks up types as it runs.
        @usableFromInline let isOver = Atomic(false)

        /// - Parameter seat: nil if the flight has gone, which a leader's handle prevents.
        @inlinable
        init(key: Key, shard: Shard<Key, Value>, flight: FlightID, seat: SeatID?) {
            self.key = key
            self.shard = shard
            self.subscription = seat.map { .seated(flight, $0) } ?? .refused(.leaderLeft)
        }

        @inlinable
        init(refused error: GroupError, key: Key, shard: Shard<Key, Value>) {
            self.key = key
            self.shard = shard
            self.subscription = .refused(.refused(error))
        }

        @inlinable
        deinit {
            if !self.isOver.load(ordering: .relaxed) { self.leave() }
        }

        /// Waits for the flight's outcome. Never hangs longer than the flight has a leader.
        ///
        /// If the awaiting task is canceled the subscriber leaves at once and gets
        /// ``Cancellation/callerCanceled``, unless the outcome is there already. An outcome can be taken once: a
        /// second call, concurrent or later, gets ``Cancellation/left``.
        @inlinable
        public func outcome() async -> Outcome<Value> {
            switch self.subscription {
            case .refused(let reason):
                return .canceled(reason)
            case .seated(let flight, let seat):
                guard !self.isAwaited.exchange(true, ordering: .relaxed) else { return .canceled(.left) }
                let known = self.shard.collect(flight, seat)
                let outcome = if let known { known } else { await self.shard.outcome(flight, seat) }
                self.isOver.store(true, ordering: .relaxed)
                return outcome
            }
        }

        /// Stops waiting: a suspended or later call of ``outcome()`` gets ``Cancellation/left``.
        ///
        /// Does nothing if the outcome has been taken, or if the subscriber has left before.
        @inlinable
        public func leave() {
            guard case .seated(let flight, let seat) = self.subscription else { return }
            self.shard.leave(flight, seat)
        }
    }
}
