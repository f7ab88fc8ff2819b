package import Logging
import Synchronization

/// Everything that was logged, at whatever level.
package final class LogRecord: Sendable {
    package struct Line: Sendable {
        package var level: Logger.Level
        package var message: String
        package var metadata: [String: String]
    }

    private struct Handler: LogHandler {
        let record: LogRecord
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let metadata = self.metadata.merging(event.metadata ?? [:]) { _, new in new }
            let line = Line(
                level: event.level,
                message: "\(event.message)",
                metadata: metadata.mapValues { "\($0)" }
            )
            self.record.all.withLock { $0.append(line) }
        }
    }

    private let all = Mutex<[Line]>([])

    package init() {}

    package var lines: [Line] { self.all.withLock { $0 } }

    package var logger: Logger { Logger(label: "test", factory: { _ in Handler(record: self) }) }
}
