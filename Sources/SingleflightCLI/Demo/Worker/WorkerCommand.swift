import ArgumentParser
import Foundation
import NIOCore
import NIOPosix

/// A worker's process: takes batches on standard input, tells what happens on standard output, ends with its input.
struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "demo-worker", shouldDisplay: false)

    @OptionGroup var connection: ConnectionOptions

    @Option(help: "The name under which it leads.")
    var label: String

    @Option(help: "The origin's port.")
    var origin: Int

    func run() async throws {
        let parent = try await LineChannel.standardStreams()
        parent.onClose {
            // Without a parent nobody waits for us: whatever the clean-up hangs on, this is the end.
            MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: .seconds(2)) { _exit(1) }
        }
        let origin = OriginClient(port: origin)
        try await DemoGroups.withGroup(
            url: connection.resolvedURL(),
            namespace: connection.resolvedNamespace(),
            label: label
        ) { group in
            let worker = Worker(group: group, origin: origin, report: { Self.send($0, to: parent) })
            worker.report(.ready)
            try await withThrowingDiscardingTaskGroup { tasks in
                for await line in parent.lines {
                    let batch = try JSONText.decode(CallBatch.self, from: line)
                    tasks.addTask { await worker.perform(batch) }
                }
                tasks.cancelAll()
            }
        }
    }

    @Sendable private static func send(_ event: WorkerEvent, to parent: LineChannel) {
        guard let line = try? JSONText.line(event) else { return }
        parent.send(line)
    }
}
