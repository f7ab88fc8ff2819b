import Foundation
import Logging
import ServiceLifecycle
import SingleflightRedis

/// What is expensive to compute, and wanted by every worker.
struct Ranking: Codable {
    var slot: Int
    var computedBy: String
}

/// Every two seconds each worker wants the ranking of that time: one of them computes it, all print it.
struct Worker: Service {
    let name: String
    let rankings: DistributedGroup<Int, Ranking>
    let logger: Logger

    func run() async throws {
        // At SIGTERM the wait for the next slot is canceled; the store, which stands first in the group of services,
        // still runs.
        try? await cancelWhenGracefulShutdown {
            while true {
                let slot = Int(Date.now.timeIntervalSince1970) / 2
                switch await self.rankings.run(slot, operation: { _ in try await self.compute(slot) }) {
                case .complete(let completion):
                    let ranking = try completion.result.get()
                    say("\(self.name): slot \(ranking.slot), computed by \(ranking.computedBy), \(completion.source)")
                case .canceled(let reason):
                    self.logger.info("no ranking", metadata: ["slot": "\(slot)", "reason": "\(reason)"])
                }
                let next = Date(timeIntervalSince1970: Double(slot + 1) * 2)
                try await Task.sleep(for: .seconds(max(next.timeIntervalSinceNow, 0)))
            }
        }
    }

    private func compute(_ slot: Int) async throws -> Ranking {
        say("\(self.name): computing slot \(slot)")
        try await Task.sleep(for: .milliseconds(500))
        return Ranking(slot: slot, computedBy: self.name)
    }
}

/// Says something at once, also where standard output is a file.
func say(_ line: String) {
    FileHandle.standardOutput.write(Data((line + "\n").utf8))
}

@main
enum Main {
    static func main() async throws {
        let environment = ProcessInfo.processInfo.environment
        let logger = Logger(label: "worker")
        let store = try RedisLeaseStore(url: environment["REDIS_URL"] ?? "redis://127.0.0.1:6379", logger: logger)
        let rankings = try DistributedGroup<Int, Ranking>(
            "rankings",
            store: store,
            configuration: DistributedGroupConfiguration(
                // A ranking is wanted although its worker died, and for a while by workers that come late to their
                // slot.
                lease: .init(duration: .seconds(3), leaderLoss: .takeOver(attempts: 2)),
                results: .init(reuse: .seconds(10))
            )
        )
        let worker = Worker(name: environment["NAME"] ?? "worker", rankings: rankings, logger: logger)
        let services = ServiceGroup(
            configuration: .init(
                // Shut down from the last to the first: what needs the store ends before it.
                services: [.init(service: store), .init(service: worker)],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        )
        try await services.run()
    }
}
