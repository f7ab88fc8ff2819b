import Singleflight

/// What a process knows of its store's clock without asking each time: by how much it is ahead of its own.
///
/// Every time that the store tells narrows it down, since the store read its clock between our sending and our hearing.
/// Nothing is decided by it here: it only tells the store, in the store's own time, until when a request is wanted.
package struct ServerClock: Sendable {
    /// How far ahead the store's clock is, at least and at most, when that was learned.
    private struct Offset {
        var lower: Duration
        var upper: Duration
        var at: LeaseInstant
    }

    /// By how much two clocks may come to differ in a given time: each is disciplined to within 500 millionths.
    private static let drift = 0.001

    private var offset: Offset?

    package init() {}

    /// Takes note of what the store's clock showed between two instants of ours.
    ///
    /// - Parameter resolution: the step in which the store tells its time, rounded down.
    package mutating func learn(
        _ time: Duration,
        resolution: Duration = .zero,
        sentAt: LeaseInstant,
        receivedAt: LeaseInstant
    ) {
        var learned = Offset(
            lower: time - receivedAt.sinceOrigin,
            upper: time + resolution - (Planted.bug("time-counted-from-the-answer") ? receivedAt : sentAt).sinceOrigin,
            at: receivedAt
        )
        if let known = self.widened(to: receivedAt) {
            let (lower, upper) = (max(known.lower, learned.lower), min(known.upper, learned.upper))
            // Where the two do not agree, one of the clocks was set: only the new one counts.
            if lower <= upper {
                (learned.lower, learned.upper) = (lower, upper)
            } else if Planted.bug("clock-that-was-set-not-noticed") {
                learned = known
            }
        }
        self.offset = learned
    }

    /// A time that the store's clock does not show before `instant`, as late as can be; `nil` as long as nothing is
    /// known.
    package func latest(at instant: LeaseInstant) -> Duration? {
        self.widened(to: instant).map { instant.sinceOrigin + $0.upper }
    }

    private func widened(to instant: LeaseInstant) -> Offset? {
        guard let offset else { return nil }
        let slack = max(offset.at.duration(to: instant), .zero) * Self.drift
        return Offset(lower: offset.lower - slack, upper: offset.upper + slack, at: offset.at)
    }
}
