import InMemoryTracing
import Logging
import ServiceLifecycle
import Tracing

/// Writes every span that has ended to the log, once a second. Stands in for an exporter.
struct SpanLog: Service {
    /// Its identifiers are this process's own only by chance; that chance is 1 in 2⁶⁴.
    let tracer = InMemoryTracer(
        idGenerator: .init(nextTraceID: { Self.identifier() }, nextSpanID: { Self.identifier() }),
        recordInjections: false,
        recordExtractions: false
    )
    let logger: Logger

    /// Has each line name the trace in whose span it is written.
    static let traceID = Logger.MetadataProvider {
        (ServiceContext.current?.inMemorySpanContext).map { ["trace_id": "\($0.traceID)"] } ?? [:]
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: .seconds(1))
                self.write()
            }
        }
        self.write()
    }

    private func write() {
        for span in self.tracer.popFinishedSpans() {
            var metadata: Logger.Metadata = ["trace_id": "\(span.traceID)", "span_id": "\(span.spanID)"]
            metadata["parent_id"] = span.parentSpanID.map { "\($0)" }
            // A caller's span links to that of the caller whose operation ran, which may be another host's.
            let links = span.links.compactMap { $0.context.inMemorySpanContext?.traceID }
            if !links.isEmpty { metadata["links"] = "\(links.joined(separator: ","))" }
            span.attributes.forEach { key, value in metadata[key] = "\(value)" }
            self.logger.info("span \(span.operationName)", metadata: metadata)
        }
    }

    private static func identifier() -> String {
        String(UInt64.random(in: .min ... .max), radix: 16)
    }
}
