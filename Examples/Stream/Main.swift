import Foundation
import Hummingbird
import Logging
import ServiceLifecycle
import SingleflightRedis

@main
enum Main {
    static func main() async throws {
        let environment = ProcessInfo.processInfo.environment
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        let logger = Logger(label: "stream")
        let store = try RedisLeaseStore(url: environment["REDIS_URL"] ?? "redis://127.0.0.1:6379", logger: logger)
        let stories = Stories(
            instance: environment["NAME"] ?? "instance",
            flights: try StreamGroup(
                "stories",
                store: store,
                // What an instance was writing that is lost, another one writes anew, within the duration.
                configuration: .init(lease: .init(duration: .seconds(3), leaderLoss: .takeOver(attempts: 2)))
            ),
            grace: .seconds(environment["SHUTDOWN_GRACE"].flatMap(Double.init) ?? 5),
            logger: logger
        )
        let router = Router()
        router.get("/") { _, _ in
            Response(
                status: .ok,
                headers: [.contentType: "text/html; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: PackageResources.page_html))
            )
        }
        router.get("story/:name") { request, context in
            stories.response(try context.parameters.require("name"), to: request)
        }
        let address: BindAddress =
            if let path = environment["SERVER_SOCKET"] {
                .unixDomainSocket(path: path)
            } else {
                .hostname(port: environment["PORT"].flatMap(Int.init) ?? 8080)
            }
        let services = ServiceGroup(
            configuration: .init(
                services: [
                    // Shut down from the last to the first: responses end while there is still a store.
                    .init(service: store),
                    .init(service: Application(router: router, configuration: .init(address: address), logger: logger)),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        )
        try await services.run()
    }
}
