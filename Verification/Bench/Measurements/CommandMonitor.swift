import HiredisClient
import SingleflightCLI

/// Counts the commands that clients send, by MONITOR: unlike `INFO commandstats` it tells them from those of scripts.
struct CommandMonitor {
    private let process: ChildProcess
    private var lines: AsyncStream<String>.Iterator
    private let redis: BenchRedis

    init(_ redis: BenchRedis, socketPath: String) async throws {
        self.redis = redis
        process = try await ChildProcess("/usr/bin/env", ["redis-cli", "-s", socketPath, "monitor"])
        lines = process.lines.makeAsyncIterator()
        guard await lines.next(isolation: #isolation) == "OK" else {
            throw CommandFailure("redis-cli monitor did not start")
        }
    }

    /// Ends the count. Only commands that name a key or a script of leases are counted.
    mutating func finish() async throws -> Int {
        let mark = "end of the count"
        _ = try await redis.client.send(RedisCommand("ECHO", .string(mark)))
        var count = 0
        while let line = await lines.next(isolation: #isolation), !line.contains(mark) {
            if line.contains(" lua] ") { continue }
            if line.contains("\"SET\" \"sf2:") || line.contains("\"EVAL") { count += 1 }
        }
        process.signal(15)
        await process.stop()
        return count
    }
}
