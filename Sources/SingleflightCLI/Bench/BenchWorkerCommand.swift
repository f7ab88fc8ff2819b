import ArgumentParser
import SingleflightRedis

/// A worker process of `singleflight bench`.
struct BenchWorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-worker", shouldDisplay: false)

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        try await BenchWorkerProcess.run(connection) { store, say in
            let worker = try LoadWorker(store: store)
            return { (load: Load) in say(.answer(await worker.run(load))) }
        }
    }
}
