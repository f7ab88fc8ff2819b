import Foundation
import History
import Logging
import ServiceLifecycle
import SingleflightRedis
import Synchronization
import UnixSignals

/// A process with one store and one group, which does as it is told on standard input, and tells what happens on
/// standard output.
///
/// It shuts down in good order on SIGTERM, and when its input ends.
package struct FlightWorker: Sendable {
    /// How it is started: as the rest of the command line.
    struct Plan {
        var group: String
        var rule: MatrixCell.Rule

        func arguments(_ url: String) -> [String] { ["matrix-worker", url, self.group, self.rule.rawValue] }
    }

    private let group: DistributedGroup<String, String>
    /// The fences that the operation is to draw; it ends when there will be no further one.
    private let fences = AsyncStream.makeStream(of: Void.self)
    private let hasLed = Flag()
    private let calls = Calls()
    /// What the process was started with, by numbers: none of it is its own.
    private let inherited: Set<String>

    private final class Flag: Sendable {
        let value = Mutex(false)
    }

    private final class Calls: Sendable {
        let latest = Mutex<Task<Void, Never>?>(nil)
    }

    /// Runs until told to end.
    ///
    /// - Parameter arguments: URL, group and rule.
    static func run(_ arguments: [String]) async throws {
        guard arguments.count == 3, let rule = MatrixCell.Rule(rawValue: arguments[2]) else {
            throw FaultMatrixError("usage: matrix-worker URL GROUP RULE")
        }
        let listed = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
        // Without the one that listed them.
        let inherited = Set(listed.filter { Int32($0).map { fcntl($0, F_GETFD) != -1 } ?? false })
        // Written at once, not by an event loop: what is told of a request must be out before the request is.
        let history = LeaseHistory(onLine: { Self.tell(.history($0)) })
        let store = try RedisLeaseStore(
            url: arguments[0],
            configuration: .init(
                namespace: "matrix",
                label: "worker",
                commandTimeout: MatrixTimes.commandTimeout
            )
        )
        let worker = FlightWorker(
            group: try MatrixTimes.group(arguments[1], rule: rule, store: RecordingLeaseStore(store, in: history)),
            inherited: inherited
        )
        let services = ServiceGroup(
            services: [store],
            gracefulShutdownSignals: [.sigterm],
            logger: Logger(label: "worker", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        let (orders, ordering) = Self.orders()
        try await withThrowingTaskGroup(of: Bool.self) { tasks in
            tasks.addTask {
                try await services.run()
                return true
            }
            tasks.addTask {
                try await store.untilReady(within: .seconds(15))
                Self.tell(.ready(inbox: store.inbox.description))
                await withDiscardingTaskGroup { calls in
                    for await order in orders {
                        if order == .shutDown { await services.triggerGracefulShutdown() }
                        worker.carryOut(order, in: &calls)
                    }
                }
                await services.triggerGracefulShutdown()
                return false
            }
            // After a signal nobody waits for further orders; the calls end by themselves.
            while let isShutDown = try await tasks.next() {
                if isShutDown { ordering.finish() }
            }
        }
    }

    private init(group: DistributedGroup<String, String>, inherited: Set<String>) {
        self.group = group
        self.inherited = inherited
    }

    private static func tell(_ event: WorkerEvent) {
        guard let line = WorkerText.line(event) else { return }
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    private static func orders() -> (AsyncStream<WorkerOrder>, AsyncStream<WorkerOrder>.Continuation) {
        let (orders, continuation) = AsyncStream.makeStream(of: WorkerOrder.self)
        // Reading blocks, for as long as nothing is said.
        Thread.detachNewThread {
            while let line = readLine() {
                if let order = WorkerText.value(WorkerOrder.self, of: line) { continuation.yield(order) }
            }
            continuation.finish()
        }
        return (orders, continuation)
    }

    private func carryOut(_ order: WorkerOrder, in calls: inout DiscardingTaskGroup) {
        switch order {
        case .call(let waits):
            let call = Task { await self.call(waits: waits) }
            self.calls.latest.withLock { $0 = call }
            calls.addTask { await call.value }
        case .finish: self.fences.continuation.finish()
        case .drawFence: self.fences.continuation.yield()
        case .leave: self.calls.latest.withLock { $0 }?.cancel()
        case .shutDown: break
        case .exhaustDescriptors:
            // Those that are open stay so; there can be no others.
            Self.limitDescriptors(to: 3)
            Self.tell(.exhausted)
        case .freeDescriptors:
            Self.limitDescriptors(to: nil)
            Self.tell(.freed)
        case .listChildsDescriptors:
            self.listChildsDescriptors()
        }
    }

    private func call(waits: Bool) async {
        let outcome = await self.group.run("key") { flight in
            let token = flight.token?.description ?? "none"
            self.hasLed.value.withLock { $0 = true }
            Self.tell(.began(token: token))
            if waits {
                // That a fence can be had is not promised; the history tells which was.
                for await _ in self.fences.stream { _ = try? await flight.fence() }
                try Task.checkCancellation()
            }
            return "worker \(token)"
        }
        Self.tell(.ended(CallEnd(outcome, hasLed: self.hasLed.value.withLock { $0 })))
    }

    // MARK: - Descriptors

    #if os(Linux)
        private static let descriptorLimit = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    #else
        private static let descriptorLimit = RLIMIT_NOFILE
    #endif

    /// - Parameter number: the least that a descriptor must not have; `nil` for as many as there can be.
    private static func limitDescriptors(to number: UInt?) {
        var limit = rlimit()
        getrlimit(Self.descriptorLimit, &limit)
        limit.rlim_cur = number.map { rlim_t($0) } ?? limit.rlim_max
        setrlimit(Self.descriptorLimit, &limit)
    }

    /// A child by fork and exec that closes nothing itself.
    private func listChildsDescriptors() {
        guard let pipe = popen("ls -l /proc/self/fd", "r") else { return Self.tell(.childsDescriptors([])) }
        defer { pclose(pipe) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&buffer, 1, buffer.count, pipe)
            guard count > 0 else { break }
            text += buffer[..<count]
        }
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n").filter { line in
            // … 7 -> socket:[12345]
            let words = line.split(separator: " ")
            guard words.count > 2, words[words.count - 2] == "->" else { return false }
            return !self.inherited.contains(String(words[words.count - 3]))
        }
        Self.tell(.childsDescriptors(lines.map(String.init)))
    }
}
