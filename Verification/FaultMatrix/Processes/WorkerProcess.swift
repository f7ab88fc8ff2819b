import FaultProxy
import Foundation
import History
import PrivateRedis
import SingleflightCLI
import Synchronization

/// A worker process as its parent sees it.
final class WorkerProcess: Sendable {
    fileprivate struct State {
        var inbox: String?
        var begun: [String] = []
        var end: (CallEnd, at: ContinuousClock.Instant)?
        var isExhausted = false
        var isFreed = false
        var childsDescriptors: [String]?
        var isGone = false
        var waiting: [Int: (condition: @Sendable (State) -> Bool, continuation: CheckedContinuation<Bool, Never>)] = [:]
        var nextID = 0
    }

    let process: ChildProcess
    private let state = Mutex(State())

    /// A worker behind a proxy of its own, once it is ready.
    ///
    /// - Parameter tool: the program that becomes the worker.
    static func with<Result: Sendable>(
        _ tool: String,
        _ plan: FlightWorker.Plan,
        on redis: PrivateRedis,
        history: LeaseHistory,
        _ body: (WorkerProcess, FaultProxy) async throws -> Result
    ) async throws -> Result {
        guard let socket = redis.socketPath else { throw FaultMatrixError("the server needs a Unix socket") }
        let proxy = try await FaultProxy(to: .unixSocket(socket), times: MatrixTimes.faults, name: ProtocolPoint.name)
        let worker = try await WorkerProcess(tool, plan.arguments(proxy.url), history: history)
        do {
            guard await worker.untilReady(within: .seconds(30)) else {
                throw FaultMatrixError("\(plan.group): the worker does not get ready")
            }
            let result = try await body(worker, proxy)
            await worker.process.stop()
            await proxy.close()
            return result
        } catch {
            await worker.process.stop(grace: .zero)
            await proxy.close()
            throw error
        }
    }

    private init(_ tool: String, _ arguments: [String], history: LeaseHistory) async throws {
        self.process = try await ChildProcess(tool, arguments, environment: ["SWIFT_BACKTRACE": "enable=no"])
        Task {
            for await line in self.process.lines {
                guard let event = WorkerText.value(WorkerEvent.self, of: line) else { continue }
                if case .history(let line) = event { history.read(line) }
                self.note { $0.note(event) }
            }
            self.note { $0.isGone = true }
        }
    }

    func send(_ order: WorkerOrder) {
        guard let line = WorkerText.line(order) else { return }
        self.process.send(line)
    }

    var inbox: String? { self.state.withLock { $0.inbox } }
    var begun: [String] { self.state.withLock { $0.begun } }
    var end: (CallEnd, at: ContinuousClock.Instant)? { self.state.withLock { $0.end } }
    var childsDescriptors: [String]? { self.state.withLock { $0.childsDescriptors } }

    func untilReady(within limit: Duration) async -> Bool { await self.until(limit) { $0.inbox != nil } }
    func untilBegun(within limit: Duration) async -> Bool { await self.until(limit) { !$0.begun.isEmpty } }
    func untilEnded(within limit: Duration) async -> Bool { await self.until(limit) { $0.end != nil } }
    func untilExhausted(within limit: Duration) async -> Bool { await self.until(limit) { $0.isExhausted } }
    func untilFreed(within limit: Duration) async -> Bool { await self.until(limit) { $0.isFreed } }
    func untilListed(within limit: Duration) async -> Bool { await self.until(limit) { $0.childsDescriptors != nil } }
    /// Everything that it said has been read.
    func untilGone(within limit: Duration) async -> Bool { await self.until(limit) { $0.isGone } }

    /// Ends it in good order, and tells what was wrong with that.
    func problemsOfEnding(within limit: Duration) async -> [String] {
        self.process.closeInput()
        guard let exit = await within(limit, { await self.process.exit() }) else {
            return ["the worker does not shut down"]
        }
        _ = await self.untilGone(within: limit)
        return exit == .code(0) ? [] : ["the worker ended with \(exit)"]
    }

    /// Forgets how the last call ended, for another one.
    func forgetEnd() {
        self.state.withLock { $0.end = nil }
    }

    /// False after `limit`, or if the process is gone without it.
    private func until(_ limit: Duration, _ condition: @escaping @Sendable (State) -> Bool) async -> Bool {
        await withCheckedContinuation { continuation in
            let id: Int? = self.state.withLock { state in
                guard !condition(state), !state.isGone else { return nil }
                state.nextID += 1
                state.waiting[state.nextID] = (condition, continuation)
                return state.nextID
            }
            guard let id else {
                return continuation.resume(returning: self.state.withLock { condition($0) })
            }
            Task {
                try? await Task.sleep(for: limit)
                self.state.withLock { $0.waiting.removeValue(forKey: id) }?.continuation.resume(returning: false)
            }
        }
    }

    private func note(_ change: (inout State) -> Void) {
        let resumed = self.state.withLock { state in
            change(&state)
            let ready = state.waiting.filter { state.isGone || $0.value.condition(state) }
            for id in ready.keys { state.waiting[id] = nil }
            return ready.values.map { ($0.continuation, $0.condition(state)) }
        }
        for (continuation, isThere) in resumed { continuation.resume(returning: isThere) }
    }
}

extension WorkerProcess.State {
    fileprivate mutating func note(_ event: WorkerEvent) {
        switch event {
        case .ready(let inbox): self.inbox = inbox
        case .began(let token): self.begun.append(token)
        case .ended(let end): self.end = (end, .now)
        case .history: break
        case .exhausted: self.isExhausted = true
        case .freed: self.isFreed = true
        case .childsDescriptors(let lines): self.childsDescriptors = lines
        }
    }
}
