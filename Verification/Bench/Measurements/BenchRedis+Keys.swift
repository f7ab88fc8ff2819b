import HiredisClient
import SingleflightCLI

extension BenchRedis {
    /// How many inboxes wait for the one flight whose keys match `pattern`; 0 while there is none.
    func waiters(matching pattern: String) async throws -> Int {
        guard let key = try await keys(matching: pattern).first else { return 0 }
        let place = RedisOrder.none(in: HashSlot(of: key))
        return Int(try await client.send(RedisCommand("HLEN", .string(key)), order: place).integer ?? 0)
    }

    func keys(matching pattern: String) async throws -> [String] {
        var keys: [String] = []
        for primary in primaries {
            let reply = try await primary.send(RedisCommand("KEYS", .string(pattern)))
            keys += reply.array?.compactMap(\.string) ?? []
        }
        return keys
    }

    /// The bytes that `key` takes in the server.
    func memory(of key: String) async throws -> Int {
        Int(try await client.send(RedisCommand("MEMORY", "USAGE", .string(key))).integer ?? 0)
    }

    /// How long a key that is to live for `duration` is there.
    func lifetime(of duration: Duration) async throws -> Duration {
        let key = "bench-lifetime-\(UInt32.random(in: 0 ... .max))"
        let milliseconds = Int64(duration / .milliseconds(1))
        let start = MonotonicTime.now
        _ = try await client.send(RedisCommand("SET", .string(key), "", "PX", .integer(milliseconds)))
        try await Task.sleep(for: duration)
        while try await client.send(RedisCommand("EXISTS", .string(key))).integer == 1 {}
        return start.duration(to: .now)
    }

    /// Makes the server keep the script and answers its hash.
    func load(_ script: RedisScript) async throws -> String {
        _ = try await client.send(RedisCommand("SCRIPT", "LOAD", .string(script.body.source)))
        return script.body.hash
    }
}
