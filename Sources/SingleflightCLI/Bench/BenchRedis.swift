package import HiredisClient
import Logging
import PrivateRedis

/// The benchmark's own connection to the Redis that it measures: one server, or a cluster.
package struct BenchRedis: Sendable {
    /// What the server counted up to a moment; of a cluster all primaries together.
    package struct Statistics: Sendable {
        /// Calls and microseconds by command; what scripts call is counted, too.
        package var commands: [String: (calls: Int, microseconds: Double)] = [:]
        /// Seconds of processor time of the server's process, or of those of all primaries.
        package var cpu = 0.0

        package func calls(_ name: String) -> Int { commands[name]?.calls ?? 0 }

        package func microseconds(_ name: String) -> Double { commands[name]?.microseconds ?? 0 }
    }

    package let client: RedisDeploymentClient
    package let url: String
    /// Where it listens for the baselines in C, which know nothing else.
    package let socketPath: String?

    /// Calls `body` with a connection to the server at `url`, or to a private one.
    ///
    /// - Throws: ``CommandFailure`` if it cannot be reached, and what `body` throws.
    package static func with<Result>(
        _ url: String?,
        _ body: (BenchRedis) async throws -> Result
    ) async throws -> Result {
        if let url { return try await with(connect(to: url, socketPath: nil), body) }
        return try await PrivateRedis.with { server in
            try await with(connect(to: server.url, socketPath: server.socketPath), body)
        }
    }

    private static func with<Result>(
        _ redis: BenchRedis,
        _ body: (BenchRedis) async throws -> Result
    ) async throws -> Result {
        do {
            let result = try await body(redis)
            await redis.client.shutdown()
            return result
        } catch {
            await redis.client.shutdown()
            throw error
        }
    }

    private static func connect(to url: String, socketPath: String?) async throws -> BenchRedis {
        var configuration = RedisClientConfiguration(try RedisTarget(url))
        configuration.commandTimeout = .seconds(10)
        if case .server(.tcp) = configuration.target.deployment { configuration.findsClusters = true }
        let logger = Logger(label: "singleflight.bench", factory: { _ in SwiftLogNoOpLogHandler() })
        let client = RedisDeploymentClient(configuration: configuration, payloads: configuration, logger: logger)
        client.start()
        do {
            try await client.connected(within: .seconds(20))
        } catch {
            await client.shutdown()
            let isRefused = (error as? RedisClientError)?.code == .authenticationFailed
            throw CommandFailure(
                "cannot reach the Redis to measure: \(error)",
                status: isRefused ? .refused : .unavailable
            )
        }
        return BenchRedis(client: client, url: url, socketPath: socketPath)
    }

    /// Those who have the keys: the server, or the primaries of a cluster.
    package var primaries: [any RedisCommanding] { client.scannable }

    package func statistics() async throws -> Statistics {
        var statistics = Statistics()
        for primary in primaries {
            for line in try await Self.info("commandstats", of: primary) where line.hasPrefix("cmdstat_") {
                let fields = line.dropFirst(8).split(whereSeparator: { ":,=".contains($0) })
                guard fields.count >= 5, let calls = Int(fields[2]), let time = Double(fields[4]) else { continue }
                let earlier = statistics.commands[String(fields[0])] ?? (0, 0)
                statistics.commands[String(fields[0])] = (earlier.calls + calls, earlier.microseconds + time)
            }
            for line in try await Self.info("cpu", of: primary)
            where line.hasPrefix("used_cpu_sys:") || line.hasPrefix("used_cpu_user:") {
                statistics.cpu += line.split(separator: ":").last.flatMap { Double($0) } ?? 0
            }
        }
        return statistics
    }

    private static func info(_ section: String, of primary: any RedisCommanding) async throws -> [Substring] {
        let text = try await primary.send(RedisCommand("INFO", .string(section))).string ?? ""
        return text.split(whereSeparator: \.isNewline)
    }
}
