import Foundation
import NIOCore
import NIOPosix
import PrivateRedis

/// Something that happened while a scene was played.
private enum StageEvent: Sendable {
    case said(worker: Int, process: Int32, WorkerEvent)
    case ended(worker: Int, process: Int32, ProcessExit)
    /// As many processes wait for the leader of the key as the scene wanted to know of.
    case followed(key: String)
    case limitReached(scene: Int)
}

/// Why a scene cannot go on.
struct SceneStopped: Error, CustomStringConvertible {
    let description: String
}

/// The workers, the origin and Redis, as a scene uses them. Belongs to the one task that plays the scenes.
///
/// Everything that happens, the scene's time limit included, comes in on one stream and is taken from it in order: a
/// scene waits by reading on until what it waits for has been said.
final class DemoStage {
    let configuration: DemoConfiguration
    let origin: OriginClient
    /// nil when the Redis is the user's.
    let redis: PrivateRedis?
    let progress: ProgressLine

    private let launch: @Sendable @concurrent (_ worker: Int) async throws -> ChildProcess
    /// Returns when this number of processes waits for the leader of a key.
    private let untilFollowed: @Sendable @concurrent (_ key: String, _ processes: Int) async throws -> Void
    private let events: AsyncStream<StageEvent>.Continuation
    private var incoming: AsyncStream<StageEvent>.Iterator
    private var workers: [ChildProcess] = []
    private var readyProcesses: Set<Int32> = []
    private var ledgers: [Int: BatchLedger] = [:]
    /// Keys of which it was noticed that enough processes wait for their leaders.
    private(set) var followed: Set<String> = []
    /// Processes whose end is part of the scene.
    private var expectedEnds: Set<Int32> = []
    private var lastBatch = 0
    private var scene = 0
    private var limit: Scheduled<Void>?

    init(
        configuration: DemoConfiguration,
        origin: OriginClient,
        redis: PrivateRedis?,
        progress: ProgressLine,
        untilFollowed: @escaping @Sendable @concurrent (_ key: String, _ processes: Int) async throws -> Void,
        launch: @escaping @Sendable @concurrent (_ worker: Int) async throws -> ChildProcess
    ) {
        self.configuration = configuration
        self.origin = origin
        self.redis = redis
        self.progress = progress
        self.untilFollowed = untilFollowed
        self.launch = launch
        let (stream, continuation) = AsyncStream.makeStream(of: StageEvent.self)
        events = continuation
        incoming = stream.makeAsyncIterator()
    }

    /// The names of all workers.
    var all: Set<Int> { Set(workers.indices) }

    // MARK: Scenes

    /// From now on, waiting fails once the scene's time is up.
    func begin(scene number: Int) {
        scene = number
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        limit = loop.scheduleTask(in: TimeAmount(configuration.sceneLimit)) { [events] in
            _ = events.yield(.limitReached(scene: number))
        }
    }

    func end() {
        limit?.cancel()
        limit = nil
        ledgers = [:]
        followed = []
    }

    // MARK: Workers

    /// Starts as many workers as the configuration wants, and waits until all are connected.
    func startWorkers() async throws {
        for worker in 0..<configuration.workers { workers.append(try await start(worker)) }
        try await waitUntilReady()
    }

    /// Ends every worker and starts another in its place, whatever state it was left in.
    func replaceAllWorkers() async throws {
        for worker in workers.indices { try await replace(worker) }
        try await waitUntilReady()
    }

    /// Ends `worker`, if it has not ended, and starts another in its place.
    func replace(_ worker: Int) async throws {
        let old = workers[worker]
        expectedEnds.insert(old.id)
        old.signal(SIGKILL)
        _ = await old.exit()
        workers[worker] = try await start(worker)
    }

    func waitUntilReady() async throws {
        try await read("\(configuration.workers) workers to connect") { $0.allWorkersAreReady }
    }

    func kill(_ worker: Int) async {
        expectedEnds.insert(workers[worker].id)
        workers[worker].signal(SIGKILL)
        _ = await workers[worker].exit()
    }

    func pause(_ worker: Int) async { await workers[worker].pause() }

    func resume(_ worker: Int) { workers[worker].signal(SIGCONT) }

    /// Ends all workers. Deaf to cancellation.
    func stopWorkers() async {
        limit?.cancel()
        await withTaskGroup { group in
            for worker in workers { group.addTask { await worker.stop() } }
        }
    }

    private var allWorkersAreReady: Bool { workers.allSatisfy { readyProcesses.contains($0.id) } }

    private func start(_ worker: Int) async throws -> ChildProcess {
        let process = try await launch(worker)
        let events = events
        Task {
            for await line in process.lines {
                guard let event = try? JSONText.decode(WorkerEvent.self, from: line) else { continue }
                events.yield(.said(worker: worker, process: process.id, event))
            }
            // In this order, so that its last words come before its end.
            events.yield(.ended(worker: worker, process: process.id, await process.exit()))
        }
        return process
    }

    // MARK: Calls

    /// Has `chosen` workers, or all, make their calls at once; answers the batch's number.
    ///
    /// - Parameter counts: whether they watch the leader count, instead of waiting for a value.
    func call(
        _ keys: [String],
        callers: Int,
        in chosen: Set<Int>? = nil,
        policy: LossPolicy = .cancel,
        counts: Bool = false
    ) -> Int {
        let chosen = chosen ?? all
        lastBatch += 1
        // Far enough ahead for every worker to have read the command.
        let start = MonotonicTime.now.advanced(by: .milliseconds(100))
        let batch = CallBatch(
            id: lastBatch,
            keys: keys,
            callers: callers,
            policy: policy,
            counts: counts,
            start: start
        )
        ledgers[lastBatch] = BatchLedger(workers: chosen, start: start)
        guard let line = try? JSONText.line(batch) else { return lastBatch }
        for worker in chosen { workers[worker].send(line) }
        return lastBatch
    }

    /// Waits until the workers have told enough about `batch`.
    @discardableResult
    func wait(
        for batch: Int,
        _ what: String,
        until isEnough: (BatchLedger) -> Bool
    ) async throws -> BatchLedger {
        try await read(what) { stage in stage.ledgers[batch].map(isEnough) ?? false }
        return ledger(batch)
    }

    func ledger(_ batch: Int) -> BatchLedger { ledgers[batch] ?? BatchLedger(workers: [], start: .now) }

    // MARK: Events

    /// Has it noticed, in ``followed``, when this number of processes waits for the leader of `key`. The scene ends it.
    func notice(_ key: String, followedBy processes: Int) -> Task<Void, any Error> {
        Task { [events, untilFollowed] in
            try await untilFollowed(key, processes)
            events.yield(.followed(key: key))
        }
    }

    private func read(_ what: String, until isDone: (DemoStage) -> Bool) async throws {
        while !isDone(self) {
            guard let event = await incoming.next(isolation: #isolation) else { throw CancellationError() }
            switch event {
            case .said(let worker, let process, let event): note(event, from: worker, process)
            case .ended(_, let process, _) where expectedEnds.contains(process): break
            case .ended(let worker, _, let exit):
                throw SceneStopped(description: "worker \(worker + 1) ended by itself with \(exit)")
            case .followed(let key): followed.insert(key)
            case .limitReached(let number) where number == scene:
                throw SceneStopped(description: "waited in vain for \(what)")
            case .limitReached: break
            }
        }
    }

    private func note(_ event: WorkerEvent, from worker: Int, _ process: Int32) {
        switch event {
        case .ready: readyProcesses.insert(process)
        case .calling(let batch), .leading(let batch, _), .led(let batch, _, _), .halfway(let batch):
            add(event, to: batch, from: worker)
        case .done(let report): add(event, to: report.batch, from: worker)
        }
    }

    private func add(_ event: WorkerEvent, to batch: Int, from worker: Int) {
        ledgers[batch]?.add(event, from: worker)
        let ledger = ledger(batch)
        progress.update(
            "  batch \(batch): \(ledger.calling.count) of \(ledger.workers.count) workers have called, "
                + "\(ledger.leaders.count) operations begun, \(ledger.total().calls) callers have their outcome"
        )
    }
}
