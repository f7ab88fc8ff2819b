import Foundation
import PrivateRedis
import Synchronization
import TestSupport
import Testing

@testable import SingleflightCLI

/// The built command while it runs, its two outputs apart.
final class RunningTool: Sendable {
    private let reaper: Reaper
    private let output: Transcript
    private let messages: Transcript
    private let status: Task<Int32, Never>

    init(_ arguments: String...) throws {
        // Not by Foundation's `Process`: what the tests were started with, in the background or under nohup, would be
        // the tool's as well, and it would not hear Ctrl-C.
        let (outputs, errors) = (try SocketPair(), try SocketPair())
        defer {
            outputs.closeChilds()
            errors.closeChilds()
        }
        let plan = Spawn.Plan(
            executable: try Tool.path,
            arguments: arguments,
            environment: ProcessInfo.processInfo.environment,
            standardInput: FileHandle.nullDevice.fileDescriptor,
            standardOutput: outputs.childs,
            standardError: errors.childs
        )
        let reaper = Reaper(id: try Spawn.start(plan).get())
        self.reaper = reaper
        output = Transcript(FileHandle(fileDescriptor: outputs.ours, closeOnDealloc: true))
        messages = Transcript(FileHandle(fileDescriptor: errors.ours, closeOnDealloc: true))
        status = Task {
            switch await reaper.exit() {
            case .code(let code): code
            case .signal(let number): 128 + number
            }
        }
    }

    func untilOutput(_ text: String) async throws { try await output.until(text) }

    func untilMessage(_ text: String) async throws { try await messages.until(text) }

    func interrupt() { _ = reaper.signal(SIGINT) }

    /// Waits until it has ended and everything it said was read.
    func end() async -> Tool.Run {
        let status = await withTaskCancellationHandler {
            await self.status.value
        } onCancel: {
            _ = self.reaper.signal(SIGKILL)
        }
        return Tool.Run(status: status, output: await output.all(), messages: await messages.all())
    }
}

/// What comes out of a pipe, read as it comes.
private final class Transcript: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var hasEnded = false
        var watchers: [(text: String?, waiter: Waiter)] = []

        var text: String { String(decoding: bytes, as: UTF8.self) }

        func isOver(_ text: String?) -> Bool {
            hasEnded || text.map { self.text.contains($0) } ?? false
        }
    }

    private let state = Mutex(State())

    init(_ handle: FileHandle) {
        Thread.detachNewThread {
            while true {
                let data = handle.availableData
                self.add(data)
                if data.isEmpty { return }
            }
        }
    }

    func until(_ text: String) async throws {
        guard await wait(for: text) else { throw PtyFailure(reason: state.withLock { $0.text }) }
    }

    func all() async -> String {
        _ = await wait(for: nil)
        return state.withLock { $0.text }
    }

    /// Whether `text` came; nil waits for the end.
    private func wait(for text: String?) async -> Bool {
        await suspended(at: #_sourceLocation) {
            "a command to \(text.map { "write \($0)" } ?? "end"); it has written \(self.state.withLock { $0.text })"
        } until: { waiter in
            let isOver = state.withLock { state in
                if !state.isOver(text) { state.watchers.append((text, waiter)) }
                return state.isOver(text)
            }
            if isOver { waiter.resume() }
        }
        return holds(text)
    }

    private func add(_ data: Data) {
        let over = state.withLock { state in
            state.bytes += data
            state.hasEnded = data.isEmpty
            let over = state.watchers.filter { state.isOver($0.text) }
            state.watchers = state.watchers.filter { !state.isOver($0.text) }
            return over
        }
        for watcher in over { watcher.waiter.resume() }
    }

    private func holds(_ text: String?) -> Bool {
        state.withLock { state in text.map { state.text.contains($0) } ?? true }
    }
}
