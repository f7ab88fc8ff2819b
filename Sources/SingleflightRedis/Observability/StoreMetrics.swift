import CoreMetrics
import HiredisClient
import SingleflightLease

/// The metrics of one store: every handle is made with the store.
struct StoreMetrics: Sendable {
    private let reconnects: [ConnectionEvent.Purpose: Counter]
    private let failures: [ConnectionFailure: Counter]
    private let ignored: Counter

    /// `nil` if what is measured would be thrown away.
    init?(_ chosen: (any MetricsFactory)?) {
        guard let factory = MetricDefinition.effectiveFactory(chosen) else { return nil }
        self.reconnects = Dictionary(
            uniqueKeysWithValues: ConnectionEvent.Purpose.allCases.map { purpose in
                (purpose, StoreMetric.reconnects.counter(purpose.rawValue, by: factory))
            }
        )
        self.failures = Dictionary(
            uniqueKeysWithValues: ConnectionFailure.all.map { failure in
                (
                    failure,
                    StoreMetric.failures.counter(failure.purpose.rawValue, failure.reason.rawValue, by: factory)
                )
            }
        )
        self.ignored = StoreMetric.ignored.counter(by: factory)
    }

    func connection(_ event: ConnectionEvent) {
        switch event.change {
        case .connected(let isFirst):
            if !isFirst {
                self.reconnects[event.purpose]?.increment()
            }
        case .lost(let code):
            self.failures[ConnectionFailure(purpose: event.purpose, reason: .init(code, isLoss: true))]?.increment()
        case .notMade(let code):
            self.failures[ConnectionFailure(purpose: event.purpose, reason: .init(code, isLoss: false))]?.increment()
        }
    }

    /// An announcement came that nobody here waits for.
    func ignoredAnnouncement() {
        self.ignored.increment()
    }
}

/// Why a connection was lost or could not be made.
private struct ConnectionFailure: Hashable {
    enum Reason: String, MetricWord {
        case lost, silent, unreachable, refused, replica, violation, other

        init(_ code: RedisClientError.Code, isLoss: Bool) {
            switch code {
            case .authenticationFailed: self = .refused
            case .replica: self = .replica
            case .protocolViolation: self = .violation
            case .timedOut: self = .silent
            case .connectionFailed: self = isLoss ? .lost : .unreachable
            default: self = .other
            }
        }
    }

    var purpose: ConnectionEvent.Purpose
    var reason: Reason

    static let all = ConnectionEvent.Purpose.allCases.flatMap { purpose in
        Reason.allCases.map { ConnectionFailure(purpose: purpose, reason: $0) }
    }
}

/// The metrics of a store.
enum StoreMetric {
    private static let connection = MetricDefinition.Label(
        "connection",
        ConnectionEvent.Purpose.allCases.map(\.rawValue)
    )

    static let reconnects = MetricDefinition(
        "reconnects_total",
        .counter,
        unit: "connections",
        labels: [connection],
        "Connections to Redis that were made again. Not the first of each."
    )
    static let failures = MetricDefinition(
        "connection_failures_total",
        .counter,
        unit: "connections",
        labels: [connection, .init("reason", ConnectionFailure.Reason.words)],
        "Connections to Redis that were lost, and attempts that made none."
    )
    static let ignored = MetricDefinition(
        "announcements_ignored_total",
        .counter,
        unit: "messages",
        labels: [],
        "Announcements of flights that nobody in this process waits for any more. They change nothing."
    )

    /// In the order of the table.
    static let all = [reconnects, failures, ignored]
}
