import HiredisClient
import Logging

/// The benchmark's own connection to the Redis that it measures.
struct BenchRedis: Sendable {
    /// What the server counted up to a moment.
    struct Statistics: Sendable {
        /// Calls and microseconds by command; what scripts call is counted, too.
        var commands: [String: (calls: Int, microseconds: Double)] = [:]
        /// Seconds of processor time of the server's process.
        var cpu = 0.0

        func calls(_ name: String) -> Int { commands[name]?.calls ?? 0 }

        func microseconds(_ name: String) -> Double { commands[name]?.microseconds ?? 0 }
    }

    let client: RedisClient
    let url: String
    /// Where it listens for the baselines in C, which know nothing else.
    let socketPath: String?

    /// - Throws: why it cannot be reached.
    static func connect(to url: String, socketPath: String?) async throws -> BenchRedis {
        var configuration = RedisClientConfiguration(url: try RedisURL(url))
        configuration.commandTimeout = .seconds(10)
        let logger = Logger(label: "singleflight.bench", factory: { _ in SwiftLogNoOpLogHandler() })
        let client = RedisClient(configuration: configuration, logger: logger)
        client.start()
        do {
            try await client.connected(within: .seconds(3))
        } catch {
            await client.shutdown()
            throw CommandFailure("cannot reach the Redis to measure: \(error)", status: .unavailable)
        }
        return BenchRedis(client: client, url: url, socketPath: socketPath)
    }

    func close() async { await client.shutdown() }

    func statistics() async throws -> Statistics {
        var statistics = Statistics()
        for line in try await info("commandstats") where line.hasPrefix("cmdstat_") {
            let fields = line.dropFirst(8).split(whereSeparator: { ":,=".contains($0) })
            guard fields.count >= 5, let calls = Int(fields[2]), let time = Double(fields[4]) else { continue }
            statistics.commands[String(fields[0])] = (calls, time)
        }
        for line in try await info("cpu")
        where line.hasPrefix("used_cpu_sys:") || line.hasPrefix("used_cpu_user:") {
            statistics.cpu += line.split(separator: ":").last.flatMap { Double($0) } ?? 0
        }
        return statistics
    }

    /// How many inboxes wait for the one flight whose keys match `pattern`; 0 while there is none.
    func waiters(matching pattern: String) async throws -> Int {
        guard let key = try await keys(matching: pattern).first else { return 0 }
        return Int(try await client.send(RedisCommand("SCARD", .string(key))).integer ?? 0)
    }

    func keys(matching pattern: String) async throws -> [String] {
        let reply = try await client.send(RedisCommand("KEYS", .string(pattern)))
        return reply.array?.compactMap(\.string) ?? []
    }

    /// The bytes that `key` takes in the server.
    func memory(of key: String) async throws -> Int {
        Int(try await client.send(RedisCommand("MEMORY", "USAGE", .string(key))).integer ?? 0)
    }

    /// Makes the server keep the script and answers its hash.
    func load(_ script: RedisScript) async throws -> String {
        _ = try await client.send(RedisCommand("SCRIPT", "LOAD", .string(script.body.source)))
        return script.body.hash
    }

    private func info(_ section: String) async throws -> [Substring] {
        let text = try await client.send(RedisCommand("INFO", .string(section))).string ?? ""
        return text.split(whereSeparator: \.isNewline)
    }
}
