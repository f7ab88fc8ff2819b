import ArgumentParser
import Logging
import ServiceLifecycle
import SingleflightRedis
import UnixSignals

/// A worker under load, until SIGTERM: what docker/compose.workers.yaml runs.
struct LoadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "demo-load", shouldDisplay: false)

    @Option(help: "What people see of this process.")
    var label = RedisLeaseStoreConfiguration.defaultLabel

    @OptionGroup var connection: ConnectionOptions

    @Option(help: "The origin's host:port.")
    var origin: HostAndPort

    @Option(help: "Callers.")
    var callers = 50

    @Option(help: "Hot keys.")
    var keys = 5

    @Option(help: "Milliseconds between two calls of a caller, at most.")
    var pause = 1_000

    @Option(help: "Seconds of a lease.")
    var lease = 3

    @Option(help: "How often a flight whose leader is lost is taken over, instead of canceled.")
    var takeOver = 0

    func validate() throws {
        guard callers > 0, keys > 0, pause >= 0, lease > 0, takeOver >= 0 else {
            throw ValidationError("--callers, --keys and --lease are at least 1, --pause and --take-over at least 0")
        }
    }

    func run() async throws {
        let store = try RedisLeaseStore(
            url: connection.resolvedURL(),
            configuration: RedisLeaseStoreConfiguration(
                namespace: connection.resolvedNamespace(),
                label: label,
                commandTimeout: .milliseconds(lease * 1_000 / 3),
                publishesEvents: true
            )
        )
        let group = try DistributedGroup<String, Int>(
            "pages",
            store: store,
            configuration: DistributedGroupConfiguration(
                lease: .init(
                    duration: .seconds(lease),
                    leaderLoss: takeOver == 0 ? .cancel : .takeOver(attempts: takeOver)
                )
            )
        )
        let load = LoadService(
            group: group,
            origin: OriginClient(host: origin.host, port: origin.port),
            callers: callers,
            keys: keys,
            pause: .milliseconds(pause),
            say: { [label] in try StandardStream.output.write("\(label)  \($0)\n") }
        )
        try load.say("started")
        // Shut down from the last to the first: the callers leave, then the store hands back what leases are left.
        var configuration = ServiceGroupConfiguration(
            services: [store, load],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "singleflight.load", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        configuration.maximumGracefulShutdownDuration = .seconds(5)
        try await ServiceGroup(configuration: configuration).run()
        try load.say("stopped")
    }
}
