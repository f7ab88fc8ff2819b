public import CoreMetrics
public import Logging
public import Tracing

extension DistributedGroupConfiguration {
    /// The metrics, spans and log that a group writes; docs/observability.md lists them.
    ///
    /// A group for which all three are off does nothing for them on the way of a call but to find that out: one
    /// comparison.
    public struct Observability: Sendable {
        /// Makes the counters and timers; `nil` for the factory that `MetricsSystem` has when the group is made. So
        /// bootstrap first.
        public var metrics: (any MetricsFactory)?
        /// Makes a span for each call; `nil` for the tracer that `InstrumentationSystem` has when the group is made. So
        /// bootstrap first.
        public var tracer: (any Tracer)?
        /// Where to log; `nil` for nowhere.
        public var logger: Logger?
        /// Whether spans and log lines name the key of the call. Off unless asked for: keys often hold what must not be
        /// in logs. No metric ever does.
        public var namesKeys: Bool

        /// Creates the choice: what the process was bootstrapped with, no log, no keys.
        public init(
            metrics: (any MetricsFactory)? = nil,
            tracer: (any Tracer)? = nil,
            logger: Logger? = nil,
            namesKeys: Bool = false
        ) {
            self.metrics = metrics
            self.tracer = tracer
            self.logger = logger
            self.namesKeys = namesKeys
        }
    }
}
