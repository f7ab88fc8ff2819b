import SingleflightLease

/// What a seed wants to happen: drawn once, so that runs differ in kind and not only in detail (swarm testing: Groce
/// et al., 2012).
struct SimulationPlan {
    /// What can happen to the world, beside what happens to single messages.
    enum Fault: CaseIterable {
        case crash, pause, partition, commandReset, inboxReset, clockJump
        case eviction, flush, failover, serverClockJump, serverErrors
        case shutDown, revocation, desertion
    }

    enum Clocks {
        case exact
        /// They run differently, by less than the margin of a lease.
        case withinMargin
        case wild
    }

    /// Troubles that hide best, because several rare things must come together and little else may.
    enum Theme: CaseIterable {
        /// Answers take longer than a lease's margin, and leaders are cut off: they must not believe for too long.
        case slowAnswers
        /// Requests are carried out after their sender gave them up: what they are granted is handed back.
        case lateRequests
        /// Followers hear of something while they ask: they must ask again.
        case overtakenAnswers
        /// The leader says often how far it is, and followers read the lease's record meanwhile.
        case overtakenReports
    }

    var processes: Int
    var keys: Int
    var callers: Int
    var lease: LeaseTerms
    var commandTimeout: Duration
    var maximumFlight: Duration
    var reuse: Duration
    /// The last part of a kept result's life, in which it is computed anew.
    var refreshWindow = Duration.zero
    /// Whether processes differ in what they do when a leader is lost.
    var isMixed: Bool
    var clocks: Clocks
    var network: SimulatedNetwork
    var faults: [Fault]
    var faultInterval: Duration
    var callInterval: Duration
    var theme: Theme?

    // Of callers.

    /// How many of those who call leave after a while, and after how long at most.
    var impatient: Double
    var patience: Duration
    /// How many come to life before they begin to wait, and take a moment until they do.
    var lingering: Double

    /// How many of those who call work by hand, ask to fail rather than go without the store, wait for a limited time,
    /// want to hear of progress.
    var byHand: Double
    /// How many of the others follow a flight if there is one, and never lead.
    var onlooking: Double
    var failing: Double
    var limited: Double
    var listening: Double
    /// How often an operation says how far it is, where somebody wants to hear of that.
    var reports = 3
    var maximumWaiters: Int?
    /// How many processes only observe.
    var observing: Double
    /// Whether processes differ in their codec.
    var isCodecMixed: Bool
    var isCodecQuick: Bool
    var hasTypedFailures: Bool
    /// How many values cannot be stored, or cannot be read.
    var badValues: Double
    /// How many operations call their own group for their own key.
    var reentrant: Double

    /// Whether a leader whose lease is gone takes another one, and whether its work goes on while the store cannot be
    /// asked.
    var leadsAgain: Bool
    var outlivesLease: Bool

    /// Whether operations write streams, and callers read them.
    var isStreaming = false
    /// Whether everybody reads slowly: then nobody keeps what a stream's writer does not.
    var hasSlowReaders = false

    /// Whether nothing keeps messages from arriving in time and nothing gets lost.
    var isCalm: Bool

    init(_ scheduler: SimulatedScheduler) {
        let duration = Duration.milliseconds(scheduler.pick([300, 1_000, 10_000]) ?? 1_000)
        self.processes = Int.random(in: 3...8, using: &scheduler.random)
        self.keys = Int.random(in: 1...3, using: &scheduler.random)
        self.callers = Int.random(in: 8...40, using: &scheduler.random)
        self.isMixed = scheduler.chance(0.2)
        self.isCalm = scheduler.chance(0.2)
        self.commandTimeout = duration / 5
        self.maximumFlight = duration * Double(Int.random(in: 2...6, using: &scheduler.random))
        self.reuse = scheduler.chance(0.2) ? duration : .zero
        self.lease = LeaseTerms(
            duration: duration,
            grace: duration * (scheduler.pick([0.5, 1, 2]) ?? 1),
            retention: duration * (self.isCalm ? 4 : scheduler.pick([0.3, 2, 10]) ?? 2),
            leaderLoss: SimulationPlan.leaderLoss(scheduler),
            acceptsReuse: self.reuse > .zero
        )
        self.impatient = 0.25
        self.patience = scheduler.pick([duration, duration, .milliseconds(5)]) ?? duration
        self.lingering = scheduler.pick([0.2, 0.2, 0.9]) ?? 0.2
        self.onlooking = scheduler.pick([0, 0, 0.3]) ?? 0
        self.byHand = scheduler.pick([0, 0, 0.2, 0.5]) ?? 0
        self.failing = scheduler.pick([0, 0.3, 1]) ?? 0
        self.limited = scheduler.pick([0, 0.3]) ?? 0
        self.listening = scheduler.pick([0, 0.5]) ?? 0
        self.maximumWaiters = scheduler.chance(0.25) ? Int.random(in: 1...3, using: &scheduler.random) : nil
        self.observing = scheduler.pick([0, 0, 0, 0, 0, 0, 0.3, 1]) ?? 0
        self.isCodecMixed = scheduler.chance(0.1)
        self.isCodecQuick = scheduler.chance(0.6)
        self.hasTypedFailures = scheduler.chance(0.5)
        self.badValues = scheduler.pick([0, 0, 0.4]) ?? 0
        self.reentrant = scheduler.pick([0, 0, 0.1]) ?? 0
        self.leadsAgain = scheduler.chance(0.5)
        self.outlivesLease = self.leadsAgain && scheduler.chance(0.7)
        self.callInterval = scheduler.duration(duration / 100...duration / 2)
        self.faultInterval = scheduler.duration(duration / 5...duration * 2)
        self.network = SimulatedNetwork()
        if scheduler.chance(0.3) {
            self.network.bareAnnouncement = Double.random(in: 0.2...1, using: &scheduler.random)
        }
        if self.reuse > .zero { self.refreshWindow = self.reuse * (scheduler.pick([0, 0.3, 0.8]) ?? 0) }
        self.clocks = .exact
        guard !self.isCalm else {
            self.faults = [.crash, .shutDown, .revocation, .desertion].filter { _ in scheduler.chance(0.5) }
            return
        }
        self.clocks = scheduler.pick([.exact, .exact, .withinMargin, .wild]) ?? .exact
        self.faults = Fault.allCases.filter { _ in scheduler.chance(0.35) }
        self.network.spike = self.commandTimeout * 2
        for probability: WritableKeyPath<SimulatedNetwork, Double> in [
            \.spikeProbability, \.requestLoss, \.replyLoss, \.reset, \.lateExecution, \.announcementLoss,
            \.announcementDuplication,
        ] where scheduler.chance(0.35) {
            self.network[keyPath: probability] = Double.random(in: 0.01...0.15, using: &scheduler.random)
        }
        if scheduler.chance(0.05) {
            self.network.announcementLoss = 1
        }
        if scheduler.chance(0.2), let theme = scheduler.pick(Theme.allCases) {
            self.adopt(theme)
        }
    }

    private mutating func adopt(_ theme: Theme) {
        self.theme = theme
        self.network = SimulatedNetwork()
        let lease = self.lease.duration
        switch theme {
        case .slowAnswers:
            if self.clocks == .wild { self.clocks = .withinMargin }
            self.network.spikeProbability = 0.5
            self.network.spike = self.commandTimeout * 0.45
            self.faults = [.partition]
            self.faultInterval = lease / 2
        case .lateRequests:
            self.clocks = .exact
            self.network.reset = 0.15
            self.network.lateExecution = 0.9
            self.faults = [.desertion]
            self.impatient = 0.7
            self.patience = .milliseconds(20)
            self.callInterval = lease / 4
        case .overtakenAnswers:
            self.network.latency = .milliseconds(1)...self.commandTimeout * 0.45
            self.network.bareAnnouncement = 1
            self.listening = 1
            self.faults = [.inboxReset, .revocation]
            self.faultInterval = lease / 8
        case .overtakenReports:
            self.network.latency = .milliseconds(1)...self.commandTimeout * 0.45
            self.listening = 1
            self.reports = 10
            self.faults = [.inboxReset]
            self.faultInterval = lease / 4
        }
    }

    /// The same, for callers that read streams. A stream's leader that loses its lease is over.
    mutating func stream(_ scheduler: SimulatedScheduler) {
        self.isStreaming = true
        self.hasSlowReaders = scheduler.chance(0.2)
        if self.hasSlowReaders {
            self.lease.retention = self.lease.duration * 0.3
            self.lease.grace = self.lease.duration / 2
            self.maximumFlight = self.lease.duration * 12
            self.faults.removeAll { [.eviction, .flush, .failover, .serverClockJump].contains($0) }
        }
        self.leadsAgain = false
        self.outlivesLease = false
    }

    static func leaderLoss(_ scheduler: SimulatedScheduler) -> LeaderLossPolicy {
        scheduler.chance(0.5) ? .cancel : .takeOver(attempts: Int.random(in: 1...3, using: &scheduler.random))
    }
}
