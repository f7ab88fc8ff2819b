/// A worker process and what it says, in order. Belongs to the one task that measures.
package final class BenchWorkerHandle<Order: Codable & Sendable, Answer: Codable & Sendable> {
    private let process: ChildProcess
    private var lines: AsyncStream<String>.Iterator

    private init(_ process: ChildProcess) {
        self.process = process
        lines = process.lines.makeAsyncIterator()
    }

    /// Calls `body` with `count` connected workers, and stops them whichever way it ends. A worker is this program,
    /// started with `bench-worker` and `arguments`.
    package static func withWorkers<Result>(
        _ count: Int,
        url: String,
        namespace: String,
        arguments: [String] = [],
        environment: [String: String] = [:],
        _ body: ([BenchWorkerHandle]) async throws -> Result
    ) async throws -> Result {
        var workers: [BenchWorkerHandle] = []
        do {
            for _ in 0..<count { workers.append(try await start(url, namespace, arguments, environment)) }
            for worker in workers {
                guard case .ready = try await worker.next() else { throw Self.outOfTurn }
            }
            let result = try await body(workers)
            for worker in workers { await worker.process.stop() }
            return result
        } catch {
            for worker in workers { await worker.process.stop() }
            throw error
        }
    }

    private static func start(
        _ url: String,
        _ namespace: String,
        _ arguments: [String],
        _ environment: [String: String]
    ) async throws -> BenchWorkerHandle {
        let place = ["SINGLEFLIGHT_URL": url, "SINGLEFLIGHT_NAMESPACE": namespace]
        let executable = try ChildProcess.ownExecutable()
        return BenchWorkerHandle(
            try await ChildProcess(
                executable,
                ["bench-worker"] + arguments,
                environment: environment.merging(place) { $1 }
            )
        )
    }

    /// Why a measurement cannot go on when a worker says something else than was asked of it.
    package static var outOfTurn: CommandFailure { CommandFailure("a worker answered out of turn") }

    package func send(_ order: Order) throws { process.send(try JSONText.line(order)) }

    /// The next thing that it answers.
    package func answer() async throws -> Answer {
        guard case .answer(let answer) = try await next() else { throw Self.outOfTurn }
        return answer
    }

    private func next() async throws -> BenchWorkerLine<Answer> {
        guard let text = await lines.next(isolation: #isolation) else {
            throw CommandFailure("a worker ended by itself")
        }
        let line = try JSONText.decode(BenchWorkerLine<Answer>.self, from: text)
        if case .failed(let why) = line { throw CommandFailure("a worker failed: \(why)") }
        return line
    }

    package func kill() async {
        process.signal(9)
        _ = await process.exit()
    }
}
