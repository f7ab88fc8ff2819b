/// A worker process and what it says, in order. Belongs to the one task that measures.
final class BenchWorkerHandle {
    private let process: ChildProcess
    private var lines: AsyncStream<String>.Iterator

    private init(_ process: ChildProcess) {
        self.process = process
        lines = process.lines.makeAsyncIterator()
    }

    /// Calls `body` with `count` connected workers, and stops them whichever way it ends.
    static func withWorkers<Result>(
        _ count: Int,
        url: String,
        namespace: String,
        environment: [String: String] = [:],
        _ body: ([BenchWorkerHandle]) async throws -> Result
    ) async throws -> Result {
        var workers: [BenchWorkerHandle] = []
        do {
            for _ in 0..<count { workers.append(try await start(url: url, namespace: namespace, environment)) }
            for worker in workers {
                guard case .ready = try await worker.answer() else { throw outOfTurn }
            }
            let result = try await body(workers)
            for worker in workers { await worker.process.stop() }
            return result
        } catch {
            for worker in workers { await worker.process.stop() }
            throw error
        }
    }

    /// Why a measurement cannot go on when a worker says something else than was asked of it.
    static let outOfTurn = CommandFailure("a worker answered out of turn")

    private static func start(
        url: String,
        namespace: String,
        _ environment: [String: String]
    ) async throws -> BenchWorkerHandle {
        let place = ["SINGLEFLIGHT_URL": url, "SINGLEFLIGHT_NAMESPACE": namespace]
        let executable = try ChildProcess.ownExecutable()
        return BenchWorkerHandle(
            try await ChildProcess(executable, ["bench-worker"], environment: environment.merging(place) { $1 })
        )
    }

    func send(_ order: BenchOrder) throws { process.send(try JSONText.line(order)) }

    /// The next thing that it says.
    func answer() async throws -> BenchAnswer {
        guard let line = await lines.next() else { throw CommandFailure("a worker ended by itself") }
        let answer = try JSONText.decode(BenchAnswer.self, from: line)
        if case .failed(let why) = answer { throw CommandFailure("a worker failed: \(why)") }
        return answer
    }

    func kill() async {
        process.signal(9)
        _ = await process.exit()
    }
}
