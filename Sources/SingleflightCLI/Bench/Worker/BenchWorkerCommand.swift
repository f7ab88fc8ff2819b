import ArgumentParser
import Foundation
import NIOCore
import NIOPosix
import SingleflightRedis

/// A benchmark's worker process: orders on standard input, answers on standard output; ends with its input.
struct BenchWorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-worker", shouldDisplay: false)

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        let parent = try await LineChannel.standardStreams()
        parent.onClose {
            // Without a parent nobody waits for us: whatever the clean-up hangs on, this is the end.
            MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: .seconds(2)) { _exit(1) }
        }
        let configuration = RedisLeaseStoreConfiguration(
            namespace: connection.resolvedNamespace(),
            commandTimeout: BenchSettings.commandTimeout
        )
        try await RedisLeaseStore.withConnection(to: connection.resolvedURL(), configuration: configuration) { store in
            let worker = try BenchWorker(store: store) { answer in
                guard let line = try? JSONText.line(answer) else { return }
                parent.send(line)
            }
            worker.answer(.ready)
            for await line in parent.lines {
                await worker.perform(try JSONText.decode(BenchOrder.self, from: line))
            }
        }
    }
}
