import HiredisClient
import SingleflightCLI

extension BenchRedis {
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
}
