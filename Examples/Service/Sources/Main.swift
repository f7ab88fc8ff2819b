import Configuration
import HTTPTypes
import Hummingbird
import Logging
import ServiceLifecycle
import SingleflightRedis

struct Report: ResponseCodable, Sendable {
    var tenant: String
    var orders: Int
    var sum: Int
}

@main
enum Main {
    static func main() async throws {
        let logger = Logger(label: "service")
        // SERVER_SOCKET, SINGLEFLIGHT_REDIS_URL, SINGLEFLIGHT_REPORTS_LEASE_DURATION, …
        let config = ConfigReader(provider: EnvironmentVariablesProvider())
        let store = try RedisLeaseStore(config: config.scoped(to: "singleflight"), logger: logger)
        let reports = try DistributedGroup<CompoundKey, Report>(
            "reports",
            store: store,
            configuration: DistributedGroupConfiguration(config: config.scoped(to: "singleflight.reports"))
        )
        let app = Application(
            router: self.routes(reports: reports, idempotency: try Idempotency(store: store)),
            configuration: .init(
                address: config.string(forKey: "server.socket").map { .unixDomainSocket(path: $0) } ?? .hostname()
            ),
            logger: logger
        )
        let services = ServiceGroup(
            configuration: .init(
                // Shut down from the last to the first: requests that are under way end while there is still a store.
                services: [.init(service: store), .init(service: app)],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        )
        try await services.run()
    }

    static func routes(
        reports: DistributedGroup<CompoundKey, Report>,
        idempotency: Idempotency
    ) -> Router<BasicRequestContext> {
        let router = Router()
        router.add(middleware: LogRequestsMiddleware(.info))

        router.get("health") { _, _ in HTTPResponse.Status.ok }

        // The key names all that the report depends on. A tenant in the path stands here for one that was
        // authenticated.
        router.get("tenants/:tenant/report") { request, context in
            let tenant = try context.parameters.require("tenant")
            // A client that hangs up leaves the flight. The query goes on as long as somebody waits for it, on whatever
            // host.
            return try await request.body.consumeWithCancellationOnInboundClose { _ in
                try await reports.value(CompoundKey(tenant, "report")) { _ in try await self.report(tenant) }
            }
        }

        router.post("tenants/:tenant/orders") { request, context in
            let tenant = try context.parameters.require("tenant")
            guard let name = HTTPField.Name("Idempotency-Key"), let key = request.headers[name] else {
                throw HTTPError(.badRequest, message: "the header Idempotency-Key is missing")
            }
            let body = String(buffer: try await request.body.collect(upTo: 4096))
            return try await idempotency.answer(tenant: tenant, key: key, request: body) {
                // At least once is not exactly once: the key is unique in the table, too.
                let rows = try await Postgres.query(
                    """
                    INSERT INTO orders (tenant, idempotency_key, amount) VALUES ($1, $2, $3)
                    ON CONFLICT (tenant, idempotency_key) DO UPDATE SET amount = orders.amount RETURNING id
                    """,
                    tenant,
                    key,
                    body
                )
                return (201, "order \(rows.first?.first ?? "")\n")
            }
        }
        return router
    }

    /// Slow, and counted by the database.
    private static func report(_ tenant: String) async throws -> Report {
        _ = try await Postgres.query("INSERT INTO queries (tenant) VALUES ($1)", tenant)
        let rows = try await Postgres.query(
            "SELECT count(*), coalesce(sum(amount), 0), pg_sleep(2) FROM orders WHERE tenant = $1",
            tenant
        )
        guard let row = rows.first, let orders = Int(row[0]), let sum = Int(row[1]) else {
            throw HTTPError(.internalServerError)
        }
        return Report(tenant: tenant, orders: orders, sum: sum)
    }
}
