import Logging
import ServiceLifecycle
import SingleflightRedis

struct Profile: Codable {
    var name: String
}

/// Stands in for your database.
func query(_ id: String) async throws -> Profile {
    print("querying for \(id)")
    try await Task.sleep(for: .seconds(3))
    return Profile(name: "profile of \(id)")
}

struct Worker: Service {
    let profiles: DistributedGroup<String, Profile>

    func run() async throws {
        let profile = try await profiles.value("42") { flight in try await query(flight.key) }
        print(profile.name)
    }
}

let url = CommandLine.arguments.dropFirst().first ?? "redis://127.0.0.1:6379"
let logger = Logger(label: "worker")
let store = try RedisLeaseStore(url: url, logger: logger)
let worker = Worker(profiles: try DistributedGroup("profiles", store: store))
let services = ServiceGroup(
    configuration: .init(
        services: [
            .init(service: store),  // must be run; stands first, so that at SIGTERM it ends last
            .init(service: worker, successTerminationBehavior: .gracefullyShutdownGroup),
        ],
        gracefulShutdownSignals: [.sigterm, .sigint],
        logger: logger
    )
)
try await services.run()
