import HTTPTypes
import Hummingbird
import SingleflightRedis

/// What is told to clients, and how it is shared. A tenant in the path stands here for one that was authenticated.
enum Routes {
    static func router(
        reports: Reports,
        lists: DistributedGroupConfiguration,
        requests: Idempotency<StoredResponse?>,
        store: any LeaseStore,
        metrics: MetricsPage
    ) throws -> Router<BasicRequestContext> {
        let router = Router()
        // Not in the log, and not traced: a middleware is for the routes that come after it.
        router.get("health") { _, _ in HTTPResponse.Status.ok }
        router.get("metrics") { _, _ in metrics.text }

        router.add(middleware: TracingMiddleware())
        router.add(middleware: MetricsMiddleware())
        router.add(middleware: LogRequestsMiddleware(.info))

        router.get("tenants/:tenant/report") { request, context in
            try await reports.report(try context.parameters.require("tenant"), for: request)
        }

        router.group("tenants/:tenant/orders")
            .add(
                middleware: try CoalescedGet("responses", store: store, configuration: lists) { request, context in
                    CompoundKey(
                        try context.parameters.require("tenant"),
                        // By its digest: keys can be listed. Where it holds a password and not a token, that has to be
                        // a digest under a secret of yours.
                        Fingerprint.of((request.headers[.authorization] ?? "").utf8),
                        request.uri.description
                    )
                }
            )
            .add(
                middleware: IdempotencyMiddleware(requests) { _, context in try context.parameters.require("tenant") }
            )
            .get { _, context in
                try await Orders.list(try context.parameters.require("tenant"))
            }
            .post { request, context in
                try await Orders.place(
                    String(buffer: try await request.body.collect(upTo: 64)),
                    tenant: try context.parameters.require("tenant"),
                    key: IdempotencyMiddleware<BasicRequestContext>.key(of: request) ?? ""
                )
            }
        return router
    }
}
