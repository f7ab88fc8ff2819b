import Metrics
import Synchronization

/// All metrics of this process, as the text that Prometheus reads. Stands in for a backend; timers have a sum, in
/// seconds, and a count, and no histogram.
final class MetricsPage: MetricsFactory {
    private let series = Mutex<[String: Series]>([:])

    var text: String {
        let series = self.series.withLock { $0 }
        return series.sorted { $0.key < $1.key }.map { $0.value.text }.joined()
    }

    private func series(_ label: String, _ dimensions: [(String, String)], sums: Bool = false) -> Series {
        let labels = dimensions.map { "\(Self.name($0.0))=\"\(Self.value($0.1))\"" }.joined(separator: ",")
        return self.series.withLock { all in
            let key = Self.name(label) + "{" + labels + "}"
            if let known = all[key] { return known }
            let new = Series(name: Self.name(label), labels: labels.isEmpty ? "" : "{\(labels)}", sums: sums)
            all[key] = new
            return new
        }
    }

    private static func name(_ label: String) -> String {
        String(label.map { $0.isLetter || $0.isNumber ? $0 : "_" })
    }

    private static func value(_ text: String) -> String {
        text.map { character in
            switch character {
            case "\n": "\\n"
            case "\"", "\\": "\\\(character)"
            default: String(character)
            }
        }.joined()
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        self.series(label, dimensions)
    }

    func makeFloatingPointCounter(label: String, dimensions: [(String, String)]) -> any FloatingPointCounterHandler {
        self.series(label, dimensions)
    }

    func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        self.series(label, dimensions)
    }

    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        self.series(label, dimensions, sums: aggregate)
    }

    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        self.series(label, dimensions, sums: true)
    }

    // A series stays as long as the process: a counter that begins anew is one that fell.
    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    func destroyMeter(_ handler: any MeterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}

    private final class Series: CounterHandler, FloatingPointCounterHandler, MeterHandler, RecorderHandler, TimerHandler
    {
        private let name: String
        private let labels: String
        private let sums: Bool
        private let state = Mutex<(value: Double, count: Int)>((0, 0))

        init(name: String, labels: String, sums: Bool) {
            self.name = name
            self.labels = labels
            self.sums = sums
        }

        var text: String {
            let (value, count) = self.state.withLock { $0 }
            guard self.sums else { return "\(self.name)\(self.labels) \(value)\n" }
            return "\(self.name)_sum\(self.labels) \(value)\n\(self.name)_count\(self.labels) \(count)\n"
        }

        private func change(_ change: (inout Double) -> Void) {
            self.state.withLock { state in
                change(&state.value)
                state.count += 1
            }
        }

        func increment(by amount: Int64) { self.change { $0 += Double(amount) } }
        func increment(by amount: Double) { self.change { $0 += amount } }
        func decrement(by amount: Double) { self.change { $0 -= amount } }
        func reset() { self.change { $0 = 0 } }
        func set(_ value: Int64) { self.change { $0 = Double(value) } }
        func set(_ value: Double) { self.change { $0 = value } }
        func record(_ value: Int64) { self.record(Double(value)) }
        func record(_ value: Double) { self.change { $0 = self.sums ? $0 + value : value } }
        func recordNanoseconds(_ duration: Int64) { self.change { $0 += Double(duration) / 1e9 } }
    }
}
