import Singleflight

/// The durations and rules of a group's flights, as the state machines need them. Checked when the group is made.
package struct FlightTerms: Hashable, Sendable {
    package private(set) var lease: LeaseTerms
    /// The time before a lease's end at which its leader stops believing in it: room for a clock that runs differently.
    package var margin: Duration
    /// How long an operation may lead before it counts as hung.
    package var maximumFlight: Duration
    /// The time within which the store answers.
    package let commandTimeout: Duration
    /// How long a value, and how long a failure, may be used again.
    package var reuse: Duration
    package var reuseFailures: Duration
    /// The last part of a reusable value's life, in which it is to be computed anew; zero for never.
    package var refreshWindow: Duration = .zero
    /// How often a renewal may come early to tell of progress.
    package var progressInterval: Duration
    /// Whether a leader whose lease is gone takes another one, and followers whose flight the store lost begin anew.
    package var leadsAgain = false
    /// Whether a leader's work goes on past its lease's end while the store cannot be asked.
    package var outlivesLease = false
    /// How often in its life a flight enters again because the store lost what it waited for.
    package static let maximumRecoveries = 3

    // What follows from them is kept: a division of durations takes as long as an allocation.

    /// Three renewals fit into a lease, so that two may fail.
    package let renewalInterval: Duration
    /// The delays between attempts of a leader's requests, and of a follower's.
    package let leaderBackoff: RetryDelay
    package let followerBackoff: RetryDelay

    package init(
        lease: LeaseTerms,
        margin: Duration,
        maximumFlight: Duration,
        commandTimeout: Duration,
        reuse: Duration = .zero,
        reuseFailures: Duration = .zero,
        progressInterval: Duration = .seconds(1)
    ) {
        self.lease = lease
        self.renewalInterval = lease.duration / (Planted.bug("renewed-too-late") ? 0.9 : 3)
        self.leaderBackoff = RetryDelay(first: .milliseconds(20), limit: lease.duration / 10)
        self.followerBackoff = RetryDelay(first: .milliseconds(10), limit: commandTimeout / 2)
        self.margin = margin
        self.maximumFlight = maximumFlight
        self.commandTimeout = commandTimeout
        self.reuse = reuse
        self.reuseFailures = reuseFailures
        self.progressInterval = progressInterval
    }

    /// Outcomes are kept for at least `time`.
    package mutating func retain(atLeast time: Duration) {
        self.lease.retention = max(self.lease.retention, time)
    }

    /// Followers ask about a lease that was not renewed within this time after its end, not all at the same instant.
    package var pollSpread: Duration { min(.milliseconds(500), self.lease.duration / 10) }

    /// How often a follower may enter again because the store lost the flight.
    package var recoveries: Int {
        let attempts: Int = if case .takeOver(let attempts) = self.lease.leaderLoss { attempts } else { 0 }
        return self.leadsAgain ? max(attempts, Self.maximumRecoveries) : attempts
    }

    /// The least time for which an outcome must be kept, so that the loss of every announcement costs time and no
    /// result.
    ///
    /// A follower that hears nothing asks when the lease would have run out that it was told of, a whole one at most;
    /// its question may be answered at the second attempt only.
    package var minimumRetention: Duration {
        self.lease.duration + .milliseconds(1) + self.pollSpread + self.commandTimeout * 2
    }

    /// The lease's end as its leader believes it, when the request that granted it was sent at `sentAt`.
    ///
    /// Counted from the sending, not from the reply: the store's count started no earlier than that.
    package func deadline(sentAt: LeaseInstant) -> LeaseInstant {
        sentAt.advanced(by: self.lease.duration - (Planted.bug("no-margin-for-clocks") ? .zero : self.margin))
    }

    /// Whether a reused value is to be computed anew.
    package func isDueForRefresh(_ freshness: Freshness) -> Bool {
        freshness.left < self.refreshWindow && (!freshness.isLed || Planted.bug("refreshed-beside-a-leader"))
    }

    package func reuse(of outcome: StoredOutcome) -> Duration {
        switch outcome {
        case .value: self.reuse
        case .failure: self.reuseFailures
        case .canceled: .zero
        }
    }
}

extension LeaseInstant {
    /// When to ask the store after the inbox is connected again.
    ///
    /// Every flight of every process hears of a reconnect at once: the questions are spread over 50 ms.
    func afterReconnect(using generator: inout some RandomNumberGenerator) -> LeaseInstant {
        self.advanced(by: .jitter(upTo: .milliseconds(50), using: &generator))
    }
}

extension Duration {
    /// A random duration from zero up to `limit`.
    package static func jitter(upTo limit: Duration, using generator: inout some RandomNumberGenerator) -> Duration {
        limit * Double.random(in: 0...1, using: &generator)
    }
}
