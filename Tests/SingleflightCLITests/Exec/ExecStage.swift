import Foundation
import PrivateRedis
import SingleflightRedis
import Synchronization
import TestSupport
import Testing

@testable import SingleflightCLI

/// Tests with leases of a second and whole herds of processes: one at a time, or they starve each other's renewals.
@Suite("Commands as processes", .usesServer, .serialized, .timeLimit(.minutes(4)))
enum ProcessSuites {}

/// A Redis, a directory and processes of the built command, for one test.
final class ExecStage: Sendable {
    let redis: PrivateRedis
    let store: RedisLeaseStore
    let directory: String
    private let started = Mutex<[ToolProcess]>([])

    static let namespace = "exec-test"

    /// Whatever `body` has started is ended and the directory removed.
    static func with(_ body: (ExecStage) async throws -> Void) async throws {
        let directory =
            FileManager.default.temporaryDirectory.path + "/singleflight-exec-\(UInt64.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let configuration = RedisLeaseStoreConfiguration(namespace: namespace, label: "the test")
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: configuration) { store in
                let stage = ExecStage(redis: redis, store: store, directory: directory)
                do {
                    try await body(stage)
                } catch {
                    await stage.stop()
                    throw error
                }
                await stage.stop()
            }
        }
    }

    private init(redis: PrivateRedis, store: RedisLeaseStore, directory: String) {
        (self.redis, self.store, self.directory) = (redis, store, directory)
    }

    private func stop() async {
        for process in started.withLock({ $0 }) { process.stop() }
    }

    /// `singleflight` with `arguments` on the stage's Redis.
    func start(_ arguments: [String], input: FileHandle = .nullDevice) throws -> ToolProcess {
        try start(program: Tool.path, arguments, input: input)
    }

    /// Any other program, with the same environment.
    func start(program: String, _ arguments: [String], input: FileHandle = .nullDevice) throws -> ToolProcess {
        let environment = ["SINGLEFLIGHT_URL": redis.url, "SINGLEFLIGHT_NAMESPACE": Self.namespace]
        let process = try ToolProcess(program: program, arguments, environment: environment, input: input)
        started.withLock { $0.append(process) }
        return process
    }

    /// An input for a process, and our end of it, which no process inherits.
    static func input() throws -> (ours: FileHandle, processes: FileHandle) {
        let sockets = try SocketPair()
        return (
            FileHandle(fileDescriptor: sockets.ours, closeOnDealloc: true),
            FileHandle(fileDescriptor: sockets.childs, closeOnDealloc: true)
        )
    }

    /// `exec` of a shell script under the key `job`.
    func exec(_ options: String..., script: String, input: FileHandle = .nullDevice) throws -> ToolProcess {
        try start(["exec"] + options + ["job", "--", "/bin/sh", "-c", script], input: input)
    }

    /// A FIFO: what is written into it is read at once, and both sides wait for one another.
    func fifo(_ name: String) throws -> Fifo {
        let path = "\(directory)/\(name)"
        guard mkfifo(path, 0o600) == 0 else { throw POSIXError(.EIO) }
        return Fifo(path: path)
    }

    /// A file's lines; none if there is no file.
    func lines(_ name: String) -> [Substring] {
        let text = (try? String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8)) ?? ""
        return text.split(separator: "\n")
    }

    /// Waits until a file, which a process that is not ours writes, holds exactly `text`.
    func untilFile(_ name: String, holds text: String) async throws {
        func content() -> String? { try? String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8) }
        do {
            try await until("\(name) to hold \(text)") { content() == text }
        } catch let error as WaitedTooLong {
            Issue.record("\(name) holds \(content() ?? "nothing")")
            throw error
        }
    }

    /// Waits until `count` processes wait for `key`.
    ///
    /// Redis does not tell when somebody registers, so it is asked, one question after the other's answer.
    func untilWaiters(_ count: Int, key: String = "job", group: String = "exec") async throws {
        let flightKey = try FlightKey(group: group, bytes: Array(key.utf8))
        try await until("\(count) processes that wait for \(group):\(key)") {
            try await store.answer(to: InspectRequest(key: flightKey)).get().waiters.count >= count
        }
    }
}

/// A rendezvous with a shell script.
struct Fifo: Sendable {
    let path: String

    /// What is written until the last writer has gone; a writer that never comes is waited for.
    func read() async throws -> String {
        try await onThread {
            guard let handle = FileHandle(forReadingAtPath: path) else { throw POSIXError(.ENOENT) }
            return String(decoding: try handle.readToEnd() ?? Data(), as: UTF8.self)
        }
    }

    /// Writes for one reader, which is waited for. A second reader takes a second FIFO: it may open this one before it
    /// is closed here, and would find nothing but the end of what the first reader has read.
    func write(_ text: String) async throws {
        try await onThread {
            guard let handle = FileHandle(forWritingAtPath: path) else { throw POSIXError(.ENOENT) }
            try handle.write(contentsOf: Data(text.utf8))
            try handle.close()
        }
    }
}

/// One process of the built command, both of whose pipes are drained while it runs.
final class ToolProcess: Sendable {
    struct Result: Sendable {
        let status: Int32
        let output: Data
        let error: Data

        var text: String { String(decoding: output, as: UTF8.self) }
        var messages: String { String(decoding: error, as: UTF8.self) }
    }

    var id: Int32 { reaper.id }
    private let reaper: Reaper
    private let run: Task<Result, any Error>

    /// Not by Foundation's `Process`, which takes a process for running as long as one of its descendants does.
    init(
        program: String? = nil,
        _ arguments: [String],
        environment: [String: String],
        input: FileHandle
    ) throws {
        let (output, messages) = (try SocketPair(), try SocketPair())
        defer {
            output.closeChilds()
            messages.closeChilds()
        }
        let plan = Spawn.Plan(
            executable: try program ?? Tool.path,
            arguments: arguments,
            environment: ProcessInfo.processInfo.environment.merging(environment) { $1 },
            standardInput: input.fileDescriptor,
            standardOutput: output.childs,
            standardError: messages.childs
        )
        let reaper = Reaper(id: try Spawn.start(plan).get())
        self.reaper = reaper
        run = Task {
            async let outputData = Self.drain(output)
            async let messageData = Self.drain(messages)
            let status: Int32 =
                switch await reaper.exit() {
                case .code(let code): code
                case .signal(let number): 128 + number
                }
            return Result(status: status, output: try await outputData, error: try await messageData)
        }
    }

    private static func drain(_ sockets: SocketPair) async throws -> Data {
        let handle = FileHandle(fileDescriptor: sockets.ours, closeOnDealloc: true)
        return try await onThread { try handle.readToEnd() ?? Data() }
    }

    /// How it ended and what it said, once it has ended; a canceled test ends it.
    var result: Result {
        get async throws {
            try await withTaskCancellationHandler {
                try await run.value
            } onCancel: {
                stop()
            }
        }
    }

    func signal(_ number: Int32) { _ = reaper.signal(number) }

    /// Ends it, unless it has ended.
    func stop() { signal(SIGKILL) }
}

/// Runs `body`, which blocks, where nobody else waits for the thread. Cancellation, as by a test's time limit, leaves
/// the thread to itself.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    let (results, continuation) = AsyncStream.makeStream(of: Swift.Result<Value, any Error>.self)
    Thread.detachNewThread {
        continuation.yield(Swift.Result { try body() })
        continuation.finish()
    }
    for await result in results { return try result.get() }
    throw CancellationError()
}

/// The results of all of them.
func results(of processes: [ToolProcess]) async throws -> [ToolProcess.Result] {
    var results: [ToolProcess.Result] = []
    for process in processes { results.append(try await process.result) }
    return results
}
