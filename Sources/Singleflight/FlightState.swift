/// One flight, as a value: its subscribers, those suspended among them, and its end. It does no I/O and calls nobody.
///
///     computing ──complete / cancel / leader left / last subscriber left──▶ finished
///
/// `computing` accepts subscribers. `finished` is terminal: it keeps the outcome only for subscribers that have not
/// taken it yet and for a leader's handle that may still subscribe; once both are gone the flight can be recycled.
///
/// - Invariant: every waiter that enters leaves in exactly one action.
@usableFromInline
struct FlightState<Value: Sendable, Waiter: Sendable, Work: Sendable>: Sendable {
    @usableFromInline
    enum Phase: Sendable {
        case computing
        case finished(Outcome<Value>)
    }

    @usableFromInline var phase = Phase.computing
    @usableFromInline var seats = Seats<Waiter>()
    /// What to cancel when nobody waits any more, and whose priority to raise.
    @usableFromInline var work: Work?
    /// Whether the last subscriber's leaving ends the flight.
    @usableFromInline var endsWhenAbandoned = false
    /// Whether the leader may still come back to this flight.
    @usableFromInline var isLed = true
    /// Whether the leader has a seat, or had one, and so is counted among the subscribers.
    @usableFromInline var leaderSubscribed = false
    /// The highest priority known of the work and of those who wait for it.
    @usableFromInline var priority: UInt8 = 0

    @inlinable
    init() {}

    /// Whether nobody can come back to this flight.
    @inlinable
    var isSpent: Bool {
        guard case .finished = self.phase else { return false }
        return !self.isLed && self.seats.occupied == 0
    }

    @inlinable
    var isFinished: Bool {
        guard case .finished = self.phase else { return false }
        return true
    }

    /// Whether only its leader has touched the flight, which has not ended, and nothing is kept for anybody.
    @inlinable
    var isUntouched: Bool {
        guard case .computing = self.phase else { return false }
        return self.seats.issued == 0 && self.work == nil
    }

    // MARK: Subscribers

    /// Adds a subscriber; nil if `limit` subscribers beside the leader's own are there already.
    @inlinable
    mutating func subscribe(as role: FlightRole, limit: Int?) -> SeatID? {
        switch role {
        case .leader:
            self.leaderSubscribed = true
        case .subscriber, .follower, .reused:
            if let limit, self.seats.subscribers >= limit { return nil }
        }
        return self.seats.take(as: role)
    }

    @usableFromInline
    enum CollectAction {
        /// No outcome yet: wait for it.
        case wait
        /// The outcome, and the subscription is over.
        case deliver(Outcome<Value>)
        /// The subscription had been over before.
        case gone
    }

    /// A subscriber asks for the outcome without suspending.
    @inlinable
    mutating func collect(_ seat: SeatID) -> CollectAction {
        switch self.phase {
        case .computing:
            return self.seats.contains(seat) ? .wait : .gone
        case .finished(let outcome):
            guard let occupant = self.seats.vacate(seat) else { return .gone }
            return .deliver(outcome.seen(as: occupant.role))
        }
    }

    @usableFromInline
    enum WaitAction {
        /// The waiter is kept. If there is work, raise it to the waiter's priority.
        case suspend(raising: Work?)
        /// The outcome is there: resume the waiter with it.
        case deliver(Outcome<Value>)
        /// The subscription is over already: resume the waiter empty-handed.
        case gone
    }

    /// A subscriber, running at `priority`, suspends until the outcome is there.
    @inlinable
    mutating func wait(_ seat: SeatID, _ waiter: Waiter, priority: UInt8) -> WaitAction {
        switch self.phase {
        case .computing:
            guard self.seats.suspend(seat, waiter) else { return .gone }
            return .suspend(raising: self.raise(to: priority))
        case .finished(let outcome):
            guard let occupant = self.seats.vacate(seat) else { return .gone }
            return .deliver(outcome.seen(as: occupant.role))
        }
    }

    /// A subscriber got a higher priority. Returns the work that must be raised to it.
    @inlinable
    mutating func raise(to priority: UInt8) -> Work? {
        switch self.phase {
        case .computing:
            guard priority > self.priority else { return nil }
            self.priority = priority
            return self.work
        case .finished:
            return nil
        }
    }

    @usableFromInline
    struct LeaveAction {
        /// The caller that must be resumed empty-handed.
        @usableFromInline let waiter: Waiter?
        /// What nobody waits for any more, and must be told so.
        @usableFromInline let abandoned: Work?

        @inlinable
        init(waiter: Waiter? = nil, abandoned: Work? = nil) {
            self.waiter = waiter
            self.abandoned = abandoned
        }
    }

    /// A subscriber's task was canceled. An outcome that is already there stays there for it to collect.
    @inlinable
    mutating func cancelWait(_ seat: SeatID) -> LeaveAction {
        switch self.phase {
        case .computing: self.leave(seat)
        case .finished: LeaveAction()
        }
    }

    /// A subscriber leaves, whether or not it is suspended.
    @inlinable
    mutating func leave(_ seat: SeatID) -> LeaveAction {
        guard let occupant = self.seats.vacate(seat) else { return LeaveAction() }
        return LeaveAction(waiter: occupant.waiter, abandoned: self.abandonIfDeserted() ? self.takeWork() : nil)
    }

    // MARK: The leader

    @usableFromInline
    enum AttachAction: Equatable {
        /// Kept.
        case keep
        /// Kept, and must be raised to this priority at once.
        case raise(to: UInt8)
        /// Nobody waits any more: it must be told so at once.
        case abandon
        /// Too late, or not the first: not kept.
        case ignore
    }

    /// The leader says what to cancel once everybody has left, which runs at `priority`.
    @inlinable
    mutating func attach(_ work: Work, endsWhenAbandoned: Bool, priority: UInt8) -> AttachAction {
        guard case .computing = self.phase, self.work == nil else { return .ignore }
        self.endsWhenAbandoned = endsWhenAbandoned
        if self.abandonIfDeserted() { return .abandon }
        self.work = work
        if self.priority > priority { return .raise(to: self.priority) }
        self.priority = priority
        return .keep
    }

    /// The leader has a result. Returns the seats of all who are suspended, or nil if the flight had ended before.
    @inlinable
    mutating func complete(_ result: Result<Value, any Error>) -> Departure? {
        let callers = self.seats.occupied + (self.leaderSubscribed ? 0 : 1)
        return self.finish(.complete(Completion(result: result, isShared: callers > 1, role: .subscriber)))
    }

    /// Somebody ends the flight without a result. Returns the seats of all who are suspended, or nil if it had ended.
    @inlinable
    mutating func cancel(_ reason: Cancellation) -> Departure? {
        self.finish(.canceled(reason))
    }

    /// The leader will not come back. Returns the seats of all who are suspended, if that ended the flight.
    @inlinable
    mutating func leaderLeaves() -> Departure? {
        self.isLed = false
        return self.cancel(.leaderLeft)
    }

    /// All who must be resumed, and with what.
    @usableFromInline
    struct Departure: Sendable {
        @usableFromInline let seats: [Seats<Waiter>.Seat]
        @usableFromInline let outcome: Outcome<Value>
        /// What has no use any more: to be let go of outside of the lock.
        @usableFromInline let work: Work?

        @inlinable
        init(seats: [Seats<Waiter>.Seat], outcome: Outcome<Value>, work: Work?) {
            self.seats = seats
            self.outcome = outcome
            self.work = work
        }
    }

    // MARK: Inside

    @inlinable
    mutating func finish(_ outcome: Outcome<Value>) -> Departure? {
        guard case .computing = self.phase else { return nil }
        self.phase = .finished(outcome)
        return Departure(seats: self.seats.vacateWaiting(), outcome: outcome, work: self.takeWork())
    }

    /// Ends the flight if it had subscribers, has none, and must not outlive them.
    @inlinable
    mutating func abandonIfDeserted() -> Bool {
        guard case .computing = self.phase, self.endsWhenAbandoned else { return false }
        guard self.seats.issued > 0, self.seats.occupied == 0 else { return false }
        self.phase = .finished(.canceled(.abandoned))
        return true
    }

    @inlinable
    mutating func takeWork() -> Work? {
        defer { self.work = nil }
        return self.work
    }

    @usableFromInline
    enum Settlement {
        case running
        /// It has ended, and keeps its outcome for somebody who may ask for it.
        case finished
        /// It has ended, nobody can come back to it, and it is ready to be another flight. This is what it kept.
        case spent(Outcome<Value>)
    }

    /// What has become of the flight by the transitions so far; a spent one is made ready to be another one.
    ///
    /// Mutating, so in place: asking ``isSpent`` of a flight in an array copies and destroys the whole slot, which was
    /// a tenth of an uncontended call.
    @inlinable
    mutating func settle() -> Settlement {
        guard case .finished(let outcome) = self.phase else { return .running }
        guard !self.isLed, self.seats.occupied == 0 else { return .finished }
        self.recycle()
        return .spent(outcome)
    }

    @inlinable
    mutating func recycle() {
        self.phase = .computing
        self.seats.reset()
        self.endsWhenAbandoned = false
        self.isLed = true
        self.leaderSubscribed = false
        self.priority = 0
    }
}
