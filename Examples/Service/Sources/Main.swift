import Configuration
import Hummingbird
import Logging
import Metrics
import ServiceLifecycle
import SingleflightRedis
import Tracing

@main
enum Main {
    static func main() async throws {
        // First of all: stores, groups and middlewares look for their backends when they are made.
        LoggingSystem.bootstrap(StreamLogHandler.standardError, metadataProvider: SpanLog.traceID)
        let logger = Logger(label: "service")
        let metrics = MetricsPage()
        MetricsSystem.bootstrap(metrics)
        let spans = SpanLog(logger: logger)
        InstrumentationSystem.bootstrap(spans.tracer)

        // SERVER_SOCKET, SINGLEFLIGHT_REDIS_URL, SINGLEFLIGHT_REPORTS_LEASE_DURATION, …
        let config = ConfigReader(provider: EnvironmentVariablesProvider())
        let store = try RedisLeaseStore(config: config.scoped(to: "singleflight"), logger: logger)
        let reports = try DistributedGroup<CompoundKey, Report>(
            "reports",
            store: store,
            configuration: DistributedGroupConfiguration(config: config.scoped(to: "singleflight.reports"))
        )
        let requests = try Idempotency<StoredResponse?>(
            "idempotency",
            store: store,
            window: .seconds(600),
            patience: .seconds(config.int(forKey: "idempotency.patience", default: 10))
        )
        let app = Application(
            router: try Routes.router(
                reports: Reports(flights: reports),
                lists: DistributedGroupConfiguration(config: config.scoped(to: "singleflight.responses")),
                requests: requests,
                store: store,
                metrics: metrics
            ),
            configuration: .init(
                address: config.string(forKey: "server.socket").map { .unixDomainSocket(path: $0) } ?? .hostname()
            ),
            logger: logger
        )
        let services = ServiceGroup(
            configuration: .init(
                // Shut down from the last to the first: requests that are under way end while there is still a store,
                // and their spans are written after them.
                services: [.init(service: spans), .init(service: store), .init(service: app)],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        )
        try await services.run()
    }
}
