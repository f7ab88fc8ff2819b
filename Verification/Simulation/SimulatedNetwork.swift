import SingleflightLease

/// How a simulated network treats what is sent through it. Probabilities are per message.
package struct SimulatedNetwork: Sendable {
    /// The time that a message takes, at least and at most.
    package var latency: ClosedRange<Duration> = .microseconds(50)...(.milliseconds(2))
    /// That a message takes up to `spike` instead.
    package var spikeProbability = 0.0
    /// See `spikeProbability`.
    package var spike = Duration.milliseconds(100)
    /// That a request, and everything after it on its connection, never arrives.
    package var requestLoss = 0.0
    /// That a request is carried out but its reply, and everything after it, never arrives.
    package var replyLoss = 0.0
    /// That a request's connection breaks while it is under way.
    package var reset = 0.0
    /// That requests which are under way when their connection breaks are carried out all the same, perhaps much later.
    package var lateExecution = 0.0
    /// That an announcement is lost, and nobody knows.
    package var announcementLoss = 0.0
    /// That an announcement arrives twice.
    package var announcementDuplication = 0.0
    /// That an announced outcome is a mere hint, as it is where the payload is too large to go along.
    package var bareAnnouncement = 0.0

    /// Creates a network that loses nothing.
    package init() {}
}

/// One direction of a connection: what is sent arrives in order, each with a delay of its own.
struct SimulatedWire {
    private var lastArrival = LeaseInstant(sinceOrigin: .zero)

    mutating func arrival(through network: SimulatedNetwork, _ scheduler: SimulatedScheduler) -> LeaseInstant {
        let isLate = scheduler.chance(network.spikeProbability)
        let delay = scheduler.duration(isLate ? .zero...network.spike : network.latency)
        let arrival = max(scheduler.now.advanced(by: delay), self.lastArrival)
        self.lastArrival = arrival
        return arrival
    }
}
