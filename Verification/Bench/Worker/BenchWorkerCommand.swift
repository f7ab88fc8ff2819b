package import ArgumentParser
import SingleflightCLI

/// A worker process of the suite.
package struct BenchWorkerCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(commandName: "bench-worker", shouldDisplay: false)

    @OptionGroup var connection: ConnectionOptions

    package init() {}

    package func run() async throws {
        try await BenchWorkerProcess.run(connection) { store, say in
            let worker = try BenchWorker(store: store, say: say)
            return { (order: BenchOrder) in await worker.perform(order) }
        }
    }
}
