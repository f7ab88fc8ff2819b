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
    @Option(help: "Names what this process has different from others.") var settings: UInt64 = 0
    @Option(help: "Where to write what is asked about some of the keys.") var history: String

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
            commandTimeout: SoakSettings.commandTimeout,
            payloadTimeout: SoakSettings.payloadTimeout
        )
        var settings = SoakSettings()
        (settings.callers, settings.keys) = (self.callers, self.keys)
        // What is warned of here is made on purpose.
        var logger = RedisLeaseStore.defaultLogger
        logger.logLevel = .critical
        let store = try RedisLeaseStore(
            url: environment["SINGLEFLIGHT_URL"] ?? "",
            configuration: configuration,
            logger: logger
        )
        let life = Task { try await store.run() }
        let watch = LeaseWatch(store)
        let recorded = RecordingLeaseStore(
            watch,
            in: try SoakHistory.writing(to: self.history),
            where: SoakHistory.isRecorded
        )
        let worker = try SoakWorker(
            store: recorded,
            settings: settings,
            own: WorkerSettings(self.settings),
            seed: self.seed
        )
        Self.say(.ready, to: parent)
        let reporting = MultiThreadedEventLoopGroup.singleton.next()
            .scheduleRepeatedTask(initialDelay: .milliseconds(100), delay: .milliseconds(100)) { _ in
                let period = worker.takePeriod()
                if !period.isEmpty { Self.say(.period(period), to: parent) }
            }
        let calls = Task {
            await worker.run()
            // What is still under way is given up with the store, or ends by itself.
            let listening = await Self.settle(store)
            // What is handed back is asked for before that, and answered by the end of the store.
            if watch.isShuttingDown { _ = await life.result }
            Self.say(.period(worker.takePeriod()), to: parent)
            Self.say(.drained(listening: listening, leases: watch.accounts), to: parent)
        }
        // Until the end of the input: what is said after that is not heard any more.
        for await line in parent.lines {
            switch try? JSONText.decode(WorkerOrder.self, from: line) {
            case .drain:
                worker.drain()
            case .bigValues:
                worker.returnBigValues()
            case .shutDown:
                await worker.underLoad { await Self.shutDown(life, watch) }
            case .stop:
                worker.drain()
                await Self.shutDown(life, watch)
            case nil:
                break
            }
        }
        worker.drain()
        // Calls that are still under way end with the store.
        await Self.shutDown(life, watch)
        await calls.value
        reporting.cancel()
    }

    private static func shutDown(_ life: Task<Void, any Error>, _ watch: LeaseWatch) async {
        // As at the end of the input.
        MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: .seconds(10)) { _exit(3) }
        watch.shutdownBegins()
        life.cancel()
        _ = await life.result
    }

    /// Waits until no flight listens any more, and answers for how many keys one still does when that takes too long.
    private static func settle(_ store: RedisLeaseStore) async -> Int {
        // A lease that may be granted late is waited for, to be handed back, as long as it would last.
        let limit = MonotonicTime.now.advanced(by: WorkerSettings.longestLease + .seconds(4))
        while store.listeningKeyCount > 0, MonotonicTime.now < limit {
            // How often it is looked.
            try? await Task.sleep(for: .milliseconds(20))
        }
        return store.listeningKeyCount
    }

    private static func say(_ report: WorkerReport, to parent: LineChannel) {
        guard let line = try? JSONText.line(report) else { return }
        parent.send(line)
    }
}
