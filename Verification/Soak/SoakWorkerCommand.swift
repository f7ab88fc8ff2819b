package import ArgumentParser
import Foundation
import History
import Logging
import NIOCore
import NIOPosix
import SingleflightCLI
import SingleflightRedis

/// One worker: orders on standard input, reports on standard output; shuts down at the end of its input.
package struct SoakWorkerCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(commandName: "chaos-worker", shouldDisplay: false)

    @Option var seed: UInt64
    @Option var callers: Int
    @Option var keys: Int
    @Option(help: "Where to write what is asked about some of the keys.") var history: String

    @Flag(help: "Write no log: its warnings are what is meant to happen.") var quiet = false

    package init() {}

    package func run() async throws {
        let parent = try await LineChannel.standardStreams()
        parent.onClose {
            // Whatever the clean-up hangs on, this is the end; the stage asks for exit status 0.
            MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: .seconds(10)) { _exit(3) }
        }
        let environment = ProcessInfo.processInfo.environment
        let configuration = RedisLeaseStoreConfiguration(
            namespace: SoakSettings.namespace,
            commandTimeout: SoakSettings.commandTimeout
        )
        var settings = SoakSettings()
        (settings.callers, settings.keys) = (self.callers, self.keys)
        var logger = RedisLeaseStore.defaultLogger
        if self.quiet { logger.logLevel = .critical }
        let store = try RedisLeaseStore(
            url: environment["SINGLEFLIGHT_URL"] ?? "",
            configuration: configuration,
            logger: logger
        )
        let life = Task { try await store.run() }
        let recorded = RecordingLeaseStore(
            store,
            in: try SoakHistory.writing(to: self.history),
            where: SoakHistory.isRecorded
        )
        let worker = try SoakWorker(store: recorded, settings: settings, seed: self.seed)
        Self.say(.ready, to: parent)
        let reporting = MultiThreadedEventLoopGroup.singleton.next()
            .scheduleRepeatedTask(initialDelay: .milliseconds(100), delay: .milliseconds(100)) { _ in
                let period = worker.takePeriod()
                if !period.isEmpty { Self.say(.period(period), to: parent) }
            }
        let calls = Task {
            await worker.run()
            Self.say(.period(worker.takePeriod()), to: parent)
            Self.say(.drained, to: parent)
        }
        for await line in parent.lines where (try? JSONText.decode(WorkerOrder.self, from: line)) == .drain {
            worker.drain()
        }
        worker.drain()
        // Calls that are still under way end with the store.
        life.cancel()
        _ = await life.result
        await calls.value
        reporting.cancel()
    }

    private static func say(_ report: WorkerReport, to parent: LineChannel) {
        guard let line = try? JSONText.line(report) else { return }
        parent.send(line)
    }
}
