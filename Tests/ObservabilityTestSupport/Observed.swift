package import InMemoryTracing
import Logging
package import MetricsTestKit
package import SingleflightLease

/// What one process of a test tells.
package struct Observed: Sendable {
    package let metrics = TestMetrics()
    package let tracer = InMemoryTracer(idGenerator: .random)
    package let log = LogRecord()
    private let group: String

    /// - Parameter group: the group whose metrics are asked for.
    package init(group: String = "group") {
        self.group = group
    }

    package var observability: DistributedGroupConfiguration.Observability { self.observability() }

    package func observability(namesKeys: Bool = false) -> DistributedGroupConfiguration.Observability {
        DistributedGroupConfiguration.Observability(
            metrics: self.metrics,
            tracer: self.tracer,
            logger: self.log.logger,
            namesKeys: namesKeys
        )
    }

    /// - Parameter labels: those besides the group.
    package func count(_ name: String, _ labels: KeyValuePairs<String, String> = [:]) -> Int64 {
        self.metrics.counterTotal(label: "singleflight_" + name, dimensions: self.dimensions(labels))
    }

    package func nanoseconds(_ name: String, _ labels: KeyValuePairs<String, String> = [:]) -> [Int64] {
        self.metrics.timers(label: "singleflight_" + name, dimensions: self.dimensions(labels)).flatMap(\.values)
    }

    package func sizes(_ name: String, _ labels: KeyValuePairs<String, String> = [:]) -> [Double] {
        self.metrics.recorders(label: "singleflight_" + name, dimensions: self.dimensions(labels)).flatMap(\.values)
    }

    package func gauge(_ name: String) -> [Double] {
        self.metrics.meters(label: "singleflight_" + name, dimensions: self.dimensions([:])).flatMap(\.values)
    }

    private func dimensions(_ labels: KeyValuePairs<String, String>) -> [(String, String)] {
        [("group", self.group)] + labels.map { ($0.key, $0.value) }
    }
}

extension InMemoryTracer.IDGenerator {
    /// As on different hosts: no two tracers give out the same.
    package static var random: InMemoryTracer.IDGenerator {
        @Sendable
        func next() -> String { String(UInt64.random(in: .min ... .max), radix: 16) }
        return InMemoryTracer.IDGenerator(nextTraceID: next, nextSpanID: next)
    }
}
