package import CoreMetrics

/// What is measured under one name. docs/observability.md has a row for each; a test compares the two.
package struct MetricDefinition: Hashable, Sendable {
    package enum Kind: String, Sendable {
        /// Only grows.
        case counter
        /// Goes up and down.
        case gauge
        /// A distribution of times. They are handed over in nanoseconds; the backend chooses what it shows.
        case timer
        /// A distribution of sizes.
        case distribution
    }

    package struct Label: Hashable, Sendable {
        package var name: String
        /// All values that there can be; empty if the user chooses them.
        package var values: [String]

        package init(_ name: String, _ values: [String] = []) {
            self.name = name
            self.values = values
        }
    }

    package var name: String
    package var kind: Kind
    package var unit: String
    package var labels: [Label]
    package var meaning: String

    package init(_ name: String, _ kind: Kind, unit: String, labels: [Label], _ meaning: String) {
        // One prefix for all, of the characters that every backend takes as they are.
        self.name = "singleflight_" + name
        self.kind = kind
        self.unit = unit
        self.labels = labels
        self.meaning = meaning
    }

    /// The metric's row in the table of docs/observability.md.
    package var row: String {
        let labels = self.labels.map { label in
            label.values.isEmpty
                ? "`\(label.name)`" : "`\(label.name)`: \(label.values.joined(separator: ", "))"
        }
        return "| `\(self.name)` | \(self.kind.rawValue) | \(self.unit) | \(self.meaning) | "
            + (labels.isEmpty ? "none" : labels.joined(separator: " · ")) + " |"
    }

    // MARK: - Handles

    /// - Parameter values: one for each of the labels, in their order.
    package func counter(_ values: String..., by factory: any MetricsFactory) -> Counter {
        Counter(label: self.name, dimensions: self.dimensions(values), factory: factory)
    }

    package func gauge(_ values: String..., by factory: any MetricsFactory) -> Meter {
        Meter(label: self.name, dimensions: self.dimensions(values), factory: factory)
    }

    package func timer(_ values: String..., by factory: any MetricsFactory) -> Timer {
        Timer(label: self.name, dimensions: self.dimensions(values), factory: factory)
    }

    package func distribution(_ values: String..., by factory: any MetricsFactory) -> Recorder {
        Recorder(label: self.name, dimensions: self.dimensions(values), aggregate: true, factory: factory)
    }

    private func dimensions(_ values: [String]) -> [(String, String)] {
        Array(zip(self.labels.map(\.name), values))
    }
}

/// A word that stands in a metric's label: one of few.
package protocol MetricWord: RawRepresentable<String>, CaseIterable, Hashable, Sendable {}

extension MetricWord {
    package static var words: [String] { self.allCases.map(\.rawValue) }
}

extension MetricDefinition {
    /// The factory to measure with; `nil` if it would throw everything away.
    package static func effectiveFactory(_ chosen: (any MetricsFactory)?) -> (any MetricsFactory)? {
        let factory = chosen ?? MetricsSystem.factory
        return factory is NOOPMetricsHandler ? nil : factory
    }
}

extension Timer {
    /// Records a time; one below zero as none.
    package func record(_ duration: Duration) {
        let (seconds, attoseconds) = max(duration, .zero).components
        self.recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
