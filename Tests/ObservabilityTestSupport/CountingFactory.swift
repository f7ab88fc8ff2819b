package import CoreMetrics
import MetricsTestKit
import Synchronization

/// Counts the handles that are made of it.
package final class CountingFactory: MetricsFactory {
    private let count = Mutex(0)
    private let metrics = TestMetrics()

    package init() {}

    package var made: Int { self.count.withLock { $0 } }

    private func make<Handler>(_ handler: Handler) -> Handler {
        self.count.withLock { $0 += 1 }
        return handler
    }

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        self.make(self.metrics.makeCounter(label: label, dimensions: dimensions))
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        self.make(self.metrics.makeMeter(label: label, dimensions: dimensions))
    }

    package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        self.make(self.metrics.makeRecorder(label: label, dimensions: dimensions, aggregate: aggregate))
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        self.make(self.metrics.makeTimer(label: label, dimensions: dimensions))
    }

    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyMeter(_ handler: any MeterHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}
}
