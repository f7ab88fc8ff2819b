import FaultProxy
import PrivateRedis
import SingleflightRedis
import Synchronization
import Testing

/// A server that compares and deletes, whatever version runs here: a proxy in front of a real one sends it a script
/// that does so where a client sends the command.
final class DeletingProxy: Sendable {
    /// What becomes of a client's command.
    enum Server: Sendable, CaseIterable {
        case knowsDelifeq, knowsDelex
        /// It knows neither.
        case old
        /// It knows both, and the user `worker` may use none of them.
        case refusing
    }

    private static let script = """
        if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
        return 0
        """

    private final class Seen: Sendable {
        let commands = Mutex<[String: Int]>([:])
    }

    let proxy: FaultProxy
    var url: String { self.proxy.url }
    private let seen: Seen

    init(_ redis: PrivateRedis, _ server: Server = .knowsDelifeq) async throws {
        let seen = Seen()
        self.seen = seen
        self.proxy = try await FaultProxy(
            to: .unixSocket(try #require(redis.socketPath)),
            times: FaultTimes(
                latency: .milliseconds(1),
                lateness: .milliseconds(1),
                jitter: .milliseconds(1),
                outage: .milliseconds(1)
            ),
            name: { $0.words.first ?? "" },
            translate: { frame in
                let words = frame.words
                guard let command = words.first else { return nil }
                seen.commands.withLock { $0[command, default: 0] += 1 }
                guard command == "DELIFEQ" || command == "DELEX", let value = words.last, words.count > 2 else {
                    return nil
                }
                switch (server, command) {
                case (.knowsDelifeq, "DELIFEQ"), (.knowsDelex, "DELEX"):
                    return ["EVAL", Self.script, "1", words[1], value]
                case (.refusing, _):
                    return ["GETDEL", words[1]]
                case (.knowsDelifeq, _), (.knowsDelex, _), (.old, _):
                    return ["UNKNOWN-\(command)"] + words.dropFirst()
                }
            }
        )
    }

    /// How often a command has come from clients so far.
    func count(_ command: String) -> Int {
        self.seen.commands.withLock { $0[command] ?? 0 }
    }

    /// The same, of all commands.
    var counts: [String: Int] { self.seen.commands.withLock { $0 } }

    /// Starts a server and a proxy, calls `body`, and ends both.
    static func with<Result: Sendable>(
        _ server: Server = .knowsDelifeq,
        _ body: (PrivateRedis, DeletingProxy) async throws -> Result
    ) async throws -> Result {
        // GETDEL is what the proxy asks for where it is to be refused; nothing else sends it.
        let users = ["worker on nopass ~* &* +@all -getdel"]
        return try await PrivateRedis.with(.init(users: users)) { redis in
            let proxy = try await DeletingProxy(redis, server)
            do {
                let result = try await body(redis, proxy)
                await proxy.proxy.close()
                return result
            } catch {
                await proxy.proxy.close()
                throw error
            }
        }
    }

    /// Two processes' stores behind the proxy, as the user `worker`.
    func withStores<Result: Sendable>(
        _ body: (RedisLeaseStore, RedisLeaseStore) async throws -> Result
    ) async throws -> Result {
        try await withTwoStores(self.url.replacing("redis://", with: "redis://worker:any@")) { one, two in
            try await one.untilSubscribed()
            try await two.untilSubscribed()
            return try await body(one, two)
        }
    }
}
