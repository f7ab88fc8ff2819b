import HiredisClient
import SingleflightCLI
import SingleflightRedis

/// How long a completion keeps the server from everybody else while many processes wait for it.
struct BlockingBench {
    struct Figures {
        /// Of the server, in the scripts that ran from the completion to the last follower's return.
        ///
        /// A poll that falls into that time counts, too: then the completion's share is less than this.
        let milliseconds: Double
        let leaseBytes: Int
    }

    let redis: BenchRedis
    let namespace: String

    /// So many stores with an inbox each, all in this process, wait for one flight.
    func run(followers: Int, key: String, payload: Int) async throws -> Figures {
        let (released, release) = AsyncStream.makeStream(of: Void.self)
        let (leading, lead) = AsyncStream.makeStream(of: Void.self)
        var configuration = BenchSettings.steady.store
        configuration.namespace = namespace
        let store = configuration
        let url = redis.url

        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            func join(_ operation: @escaping @Sendable () async -> Void) {
                tasks.addTask {
                    try await RedisLeaseStore.withConnection(to: url, configuration: store) { store in
                        let group = try DistributedGroup<String, [UInt8]>(
                            "bench",
                            store: store,
                            configuration: BenchSettings.steady.group
                        )
                        _ = try await group.value(key) { _ in
                            await operation()
                            return StampedPayload.make(bytes: payload)
                        }
                    }
                }
            }
            join {
                lead.yield()
                for await _ in released { break }
            }
            for await _ in leading { break }
            for _ in 0..<followers { join {} }
            try await redis.untilWaiting(followers, on: key, namespace: namespace)
            var leaseBytes = 0
            if let lease = try await redis.keys(matching: "sf2:{\(namespace):*}:lease:bench:\(key)").first {
                leaseBytes = try await redis.memory(of: lease)
            }
            let before = try await redis.statistics()
            release.yield()
            try await tasks.waitForAll()
            let after = try await redis.statistics()
            let names = ["evalsha", "eval"]
            let calls = names.reduce(0) { $0 + after.calls($1) - before.calls($1) }
            guard calls > 0 else { throw CommandFailure("the completion was not seen") }
            let time = names.reduce(0) { $0 + after.microseconds($1) - before.microseconds($1) }
            return Figures(milliseconds: time / 1000, leaseBytes: leaseBytes)
        }
    }

    /// Milliseconds of the server for that number of messages to one subscriber, sent by a script that does nothing
    /// else.
    func publish(_ count: Int, payload: Int) async throws -> Double {
        let channel = "\(namespace):publish"
        let inbox = redis.client.makeSubscription(to: channel) { _ in }
        inbox.start()
        do {
            try await inbox.subscribed(within: .seconds(20))
            let script = "for _ = 1, ARGV[1] do redis.call('PUBLISH', KEYS[1], ARGV[2]) end"
            let before = try await redis.statistics()
            let words: [RedisArgument] = [
                .string(script), "1", .string(channel), .string("\(count)"),
                .string(String(repeating: "x", count: payload)),
            ]
            _ = try await redis.client.send(RedisCommand("EVAL", arguments: words))
            let after = try await redis.statistics()
            await inbox.shutdown()
            return (after.microseconds("eval") - before.microseconds("eval")) / 1000
        } catch {
            await inbox.shutdown()
            throw error
        }
    }
}
