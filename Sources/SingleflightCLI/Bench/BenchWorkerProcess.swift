import Foundation
import NIOCore
import NIOPosix
package import SingleflightRedis

/// What a benchmark's worker process says, one line each.
package enum BenchWorkerLine<Answer: Codable & Sendable>: Codable, Sendable {
    /// It is connected.
    case ready
    case answer(Answer)
    case failed(String)
}

/// The worker's side of a benchmark: orders on standard input, answers on standard output; ends with its input.
package enum BenchWorkerProcess {
    /// Connects, and carries out one order after the other.
    ///
    /// - Parameters:
    ///   - settings: of the store.
    ///   - makeWorker: gets the connected store and a function that speaks, and returns what carries out an order.
    package static func run<Order: Decodable & Sendable, Answer: Codable & Sendable>(
        _ connection: ConnectionOptions,
        _ settings: BenchSettings = .steady,
        _ makeWorker: (RedisLeaseStore, @escaping @Sendable (BenchWorkerLine<Answer>) -> Void) throws ->
            @concurrent (Order) async
            -> Void
    ) async throws {
        let parent = try await LineChannel.standardStreams()
        parent.onClose {
            // Without a parent nobody waits for this process, whatever its clean-up hangs on.
            MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: .seconds(2)) { _exit(1) }
        }
        @Sendable func say(_ line: BenchWorkerLine<Answer>) {
            guard let line = try? JSONText.line(line) else { return }
            parent.send(line)
        }
        var configuration = settings.store
        configuration.namespace = connection.resolvedNamespace()
        try await RedisLeaseStore.withConnection(to: connection.resolvedURL(), configuration: configuration) { store in
            let perform = try makeWorker(store) { say($0) }
            say(.ready)
            for await line in parent.lines {
                await perform(try JSONText.decode(Order.self, from: line))
            }
        }
    }
}
