package import ArgumentParser
import SingleflightCLI

/// A worker process of the suite.
package struct BenchWorkerCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(commandName: "bench-worker", shouldDisplay: false)

    @Flag(help: "Leases that run out soon.")
    var shortLeases = false

    @OptionGroup var connection: ConnectionOptions

    package init() {}

    package func run() async throws {
        let settings = shortLeases ? BenchSettings.short : .steady
        try await BenchWorkerProcess.run(connection, settings) { store, say in
            let worker = try BenchWorker(store: store, configuration: settings.group, say: say)
            return { (order: BenchOrder) in await worker.perform(order) }
        }
    }
}
