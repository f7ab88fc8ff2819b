import CoreMetrics

/// The metrics of one group: every handle is made with the group, none on the way of a call.
final class GroupMetrics: Sendable {
    private let calls: [CallEnd: Counter]
    private let waits: [CallRole: Timer]
    private let wakeups: [CallRole: Timer]
    private let flights: [FlightEndLabels: Counter]
    private let renewals: [RenewalResult: Counter]
    private let polls: [PollResult: Counter]
    private let losses: [LossMoment: Counter]
    private let observed: [ObservedVerdict: Counter]
    private let refreshes: [RefreshResult: Counter]
    let coalesced: Counter
    let degraded: Counter
    let inFlight: Meter
    let operations: Timer
    let commits: Timer
    let renewalSlack: Timer
    let takeovers: Counter
    let bytesSent: Recorder
    let bytesReceived: Recorder
    /// Of a group of streams.
    private let streamBytesWritten: Counter?
    private let streamBytesRead: Counter?

    /// - Parameter hasStreams: whether the group's flights are streams.
    init(group: String, factory: any MetricsFactory, hasStreams: Bool) {
        func make<Key: Hashable, Handle>(_ keys: some Sequence<Key>, _ handle: (Key) -> Handle) -> [Key: Handle] {
            Dictionary(uniqueKeysWithValues: keys.map { ($0, handle($0)) })
        }
        self.calls = make(CallEnd.all) {
            GroupMetric.calls.counter(group, $0.role.rawValue, $0.outcome.rawValue, by: factory)
        }
        self.waits = make(CallRole.allCases) { GroupMetric.waits.timer(group, $0.rawValue, by: factory) }
        self.wakeups = make(GroupMetric.wakingRoles) { GroupMetric.wakeups.timer(group, $0.rawValue, by: factory) }
        self.flights = make(FlightEndLabels.all) {
            GroupMetric.flights.counter(group, $0.role.rawValue, $0.outcome.rawValue, by: factory)
        }
        self.renewals = make(RenewalResult.allCases) {
            GroupMetric.renewals.counter(group, $0.rawValue, by: factory)
        }
        self.polls = make(PollResult.allCases) { GroupMetric.polls.counter(group, $0.rawValue, by: factory) }
        self.losses = make(LossMoment.allCases) { GroupMetric.losses.counter(group, $0.rawValue, by: factory) }
        self.observed = make(ObservedVerdict.allCases) { GroupMetric.observed.counter(group, $0.rawValue, by: factory) }
        self.refreshes = make(RefreshResult.allCases) {
            GroupMetric.refreshes.counter(group, $0.rawValue, by: factory)
        }
        self.coalesced = GroupMetric.coalesced.counter(group, by: factory)
        self.degraded = GroupMetric.degraded.counter(group, by: factory)
        self.inFlight = GroupMetric.inFlight.gauge(group, by: factory)
        self.operations = GroupMetric.operations.timer(group, by: factory)
        self.commits = GroupMetric.commits.timer(group, by: factory)
        self.renewalSlack = GroupMetric.renewalSlack.timer(group, by: factory)
        self.takeovers = GroupMetric.takeovers.counter(group, by: factory)
        self.bytesSent = GroupMetric.payloads.distribution(group, "sent", by: factory)
        self.bytesReceived = GroupMetric.payloads.distribution(group, "received", by: factory)
        self.streamBytesWritten = hasStreams ? GroupMetric.streamBytes.counter(group, "written", by: factory) : nil
        self.streamBytesRead = hasStreams ? GroupMetric.streamBytes.counter(group, "read", by: factory) : nil
    }

    func callEnded(_ end: CallEnd, after wait: Duration) {
        self.calls[end]?.increment()
        self.waits[end.role]?.record(wait)
    }

    func woke(_ role: CallRole, after delay: Duration) {
        self.wakeups[role]?.record(delay)
    }

    func observed(_ verdict: ObservedVerdict) {
        self.observed[verdict]?.increment()
    }

    func refreshed(_ result: RefreshResult) {
        self.refreshes[result]?.increment()
    }

    func streamed(_ bytes: Int, isRead: Bool) {
        (isRead ? self.streamBytesRead : self.streamBytesWritten)?.increment(by: bytes)
    }

    func flightEnded(_ end: FlightEndLabels) {
        self.flights[end]?.increment()
    }

    func renewed(_ result: RenewalResult) {
        self.renewals[result]?.increment()
    }

    func polled(_ result: PollResult) {
        self.polls[result]?.increment()
    }

    func lost(_ moment: LossMoment) {
        self.losses[moment]?.increment()
    }
}

// MARK: - Labels

/// What a caller was.
package enum CallRole: String, MetricWord {
    case leader, subscriber, follower
    /// The flight was over, and its outcome could be used again.
    case reused
    /// It left, or was turned away, or no result came.
    case none
}

/// What a caller got.
package enum CallResult: String, MetricWord {
    case value, failure
    /// No result will come.
    case canceled
    /// The caller was canceled, or waited as long as it wanted to.
    case left
    /// Too many wait already, or the caller would wait for itself.
    case refused
    /// The store could not be asked, and the call was not to go without.
    case unavailable
}

/// How a call ended: the pairs that there are.
package struct CallEnd: Hashable, Sendable {
    package var role: CallRole
    package var outcome: CallResult

    package static let all: [CallEnd] =
        [CallRole.leader, .subscriber, .follower, .reused].flatMap { role in
            [CallResult.value, .failure].map { CallEnd(role: role, outcome: $0) }
        } + [CallResult.canceled, .left, .refused, .unavailable].map { CallEnd(role: .none, outcome: $0) }
}

/// What a process was in one of its flights.
package enum ProcessRole: String, MetricWord {
    case leader, follower
    /// The flight was over, and its outcome could be used again.
    case reused
    /// The flight ended before that was known.
    case none
}

/// What a flight came to in one process.
package enum FlightResult: String, MetricWord {
    case value, failure, canceled
    /// The last caller in the process left.
    case abandoned
    /// The store could not be asked.
    case unavailable
}

/// How a flight ended in one process: the pairs that there are.
package struct FlightEndLabels: Hashable, Sendable {
    package var role: ProcessRole
    package var outcome: FlightResult

    package static let all: [FlightEndLabels] =
        [ProcessRole.leader, .follower].flatMap { role in
            [FlightResult.value, .failure, .canceled, .abandoned].map { FlightEndLabels(role: role, outcome: $0) }
        } + [FlightResult.value, .failure, .canceled].map { FlightEndLabels(role: .reused, outcome: $0) }
        + [FlightResult.canceled, .abandoned, .unavailable].map { FlightEndLabels(role: .none, outcome: $0) }
}

/// What became of a refresh.
package enum RefreshResult: String, MetricWord {
    case value, failure
    /// No result will come.
    case canceled
    /// Another process computes the value, or has done so.
    case needless
    /// The store could not be asked.
    case unavailable
}

/// What became of a renewal.
package enum RenewalResult: String, MetricWord {
    case renewed
    /// The lease is held under another token, or not at all.
    case lost
    /// It had run out.
    case expired
    /// No answer, or an error.
    case failed
}

/// What a poll found.
package enum PollResult: String, MetricWord {
    case done, running, expired, superseded, withdrawn, gone
    /// No answer, or an error.
    case failed
}

/// When a leader learned that its lease is lost.
package enum LossMoment: String, MetricWord {
    /// While the operation ran, which was canceled.
    case running
    /// When its result was handed in, which was refused.
    case completing
}

// MARK: - Definitions

/// The metrics of a group.
package enum GroupMetric {
    private static let group = MetricDefinition.Label("group")
    /// The roles of callers that a result is told to.
    static let wakingRoles: [CallRole] = [.leader, .subscriber, .follower]

    static let calls = MetricDefinition(
        "calls_total",
        .counter,
        unit: "calls",
        labels: [group, .init("role", CallRole.words), .init("outcome", CallResult.words)],
        "Calls that have ended, by what the caller was and what it got."
    )
    static let coalesced = MetricDefinition(
        "calls_coalesced_total",
        .counter,
        unit: "calls",
        labels: [group],
        "Calls that got a result without running their operation: the work that was saved."
    )
    static let degraded = MetricDefinition(
        "calls_degraded_total",
        .counter,
        unit: "calls",
        labels: [group],
        "Calls whose store could not be asked, whatever they got then."
    )
    static let observed = MetricDefinition(
        "calls_observed_total",
        .counter,
        unit: "calls",
        labels: [group, .init("verdict", ObservedVerdict.words)],
        "Calls of a group that only observes, by what would have become of them: run, or given the result of a computation here or elsewhere."
    )
    static let waits = MetricDefinition(
        "call_wait",
        .timer,
        unit: "ns",
        labels: [group, .init("role", CallRole.words)],
        "From a call to its end: what the caller waited."
    )
    static let wakeups = MetricDefinition(
        "wakeup",
        .timer,
        unit: "ns",
        labels: [group, .init("role", wakingRoles.map(\.rawValue))],
        "From the moment at which this process learned that the result stands to the moment at which the caller runs again."
    )
    static let flights = MetricDefinition(
        "flights_total",
        .counter,
        unit: "flights",
        labels: [group, .init("role", ProcessRole.words), .init("outcome", FlightResult.words)],
        "Flights that have ended in this process, of any number of calls each."
    )
    static let refreshes = MetricDefinition(
        "refreshes_total",
        .counter,
        unit: "flights",
        labels: [group, .init("result", RefreshResult.words)],
        "Flights that nobody waited for and that were to renew a kept result, by what became of them."
    )
    static let inFlight = MetricDefinition(
        "flights_current",
        .gauge,
        unit: "flights",
        labels: [group],
        "Flights that this process leads or follows now."
    )
    static let operations = MetricDefinition(
        "operation",
        .timer,
        unit: "ns",
        labels: [group],
        "From the grant of the lease to the operation's end: the work itself."
    )
    static let commits = MetricDefinition(
        "result_commit",
        .timer,
        unit: "ns",
        labels: [group],
        "From the operation's end to the moment at which the leader's callers are told: the store accepts the result."
    )
    static let renewals = MetricDefinition(
        "lease_renewals_total",
        .counter,
        unit: "requests",
        labels: [group, .init("result", RenewalResult.words)],
        "Renewals that were answered, or given up."
    )
    static let renewalSlack = MetricDefinition(
        "lease_renewal_slack",
        .timer,
        unit: "ns",
        labels: [group],
        "What was left until the leader would have given up its lease when the renewal was acknowledged. Near zero: renewals come too late."
    )
    static let losses = MetricDefinition(
        "lease_losses_total",
        .counter,
        unit: "leases",
        labels: [group, .init("when", LossMoment.words)],
        "Leases that this process lost: while the operation ran, or when its result was handed in."
    )
    static let takeovers = MetricDefinition(
        "takeovers_total",
        .counter,
        unit: "leases",
        labels: [group],
        "Leases under which this process went on where another leader was lost."
    )
    static let polls = MetricDefinition(
        "polls_total",
        .counter,
        unit: "requests",
        labels: [group, .init("result", PollResult.words)],
        "Questions how a flight stands, by the answer. Many that are done: announcements get lost."
    )
    static let payloads = MetricDefinition(
        "payload_bytes",
        .distribution,
        unit: "bytes",
        labels: [group, .init("direction", ["sent", "received"])],
        "Size of encoded results, the envelope included: sent once per result, received once per flight and process."
    )
    static let streamBytes = MetricDefinition(
        "stream_bytes_total",
        .counter,
        unit: "bytes",
        labels: [group, .init("direction", ["written", "read"])],
        "Parts of streams, encoded: written once per part, read once per part and caller. Only of groups of streams."
    )

    /// In the order of the table.
    package static let all = [
        calls, coalesced, degraded, observed, waits, wakeups, flights, refreshes, inFlight, operations, commits,
        renewals, renewalSlack, losses, takeovers, polls, payloads, streamBytes,
    ]
}
