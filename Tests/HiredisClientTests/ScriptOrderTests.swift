import HiredisClient
import NIOCore
import PrivateRedis
import Synchronization
import TestSupport
import Testing

/// Scripts that the server does not know are sent again, behind what was sent after them.
@Suite("The order of commands, some of them scripts that are forgotten", .usesServer, .timeLimit(.minutes(4)))
struct ScriptOrderTests {
    private static let order = RedisOrder(7)

    private final class Answers: Sendable {
        private let state = Mutex<[String: Result<RESPValue, RedisClientError>]>([:])

        var count: Int { self.state.withLock { $0.count } }

        subscript(name: String) -> Result<RESPValue, RedisClientError>? { self.state.withLock { $0[name] } }

        func handler(_ name: String) -> RedisClient.Completion {
            { result in self.state.withLock { $0[name] = result } }
        }
    }

    private static func script(_ name: String) -> RedisScript {
        RedisScript("return redis.call('APPEND', KEYS[1], '\(name)')")
    }

    /// Submits evaluations, and after them commands, all in one piece.
    private func submit(
        _ client: RedisClient,
        scripts: [(String, RedisOrder)],
        commands: [(String, RedisOrder)],
        flushing: Bool
    ) async throws -> Answers {
        let answers = Answers()
        client.eventLoop.execute {
            if flushing { client.send(RedisCommand("SCRIPT", "FLUSH")) { _ in } }
            for (name, order) in scripts {
                client.evaluate(Self.script(name), keys: ["key"], order: order, completion: answers.handler(name))
            }
            for (name, order) in commands {
                client.send(
                    RedisCommand("APPEND", "key", .string(name)),
                    order: order,
                    completion: answers.handler(name)
                )
            }
        }
        try await until("all answers") { answers.count == scripts.count + commands.count }
        return answers
    }

    @Test("what was overtaken by a command of its order fails, and is not carried out behind it")
    func overtaken() async throws {
        try await withServer { redis, client in
            let answers = try await submit(
                client,
                scripts: [("a", Self.order), ("b", Self.order)],
                commands: [("c", Self.order)],
                flushing: true
            )
            for name in ["a", "b"] {
                let error = #expect(throws: RedisClientError.self) { try answers[name]?.get() }
                #expect(error?.code == .notSent)
                #expect(error?.mayHaveExecuted == false)
            }
            #expect(try await redis.command("GET", "key") == "$1\r\nc\r\n")
        }
    }

    @Test("what was not overtaken is sent again, in its order")
    func sentAgain() async throws {
        try await withServer { redis, client in
            _ = try await submit(
                client,
                scripts: [("a", Self.order), ("b", Self.order), ("c", Self.order), ("d", Self.order)],
                commands: [],
                flushing: true
            )
            #expect(try await redis.command("GET", "key") == "$4\r\nabcd\r\n")
        }
    }

    @Test("commands of other orders overtake nothing")
    func otherOrders() async throws {
        try await withServer { redis, client in
            let answers = try await submit(
                client,
                scripts: [("a", Self.order)],
                commands: [("b", RedisOrder(8)), ("c", .none)],
                flushing: true
            )
            #expect(throws: Never.self) { try answers["a"]?.get() }
            #expect(try await redis.command("GET", "key") == "$3\r\nbca\r\n")
        }
    }

    @Test("scripts that are loaded when connecting are carried out at once")
    func loaded() async throws {
        try await withServer(configure: { $0.scripts = [Self.script("a")] }) { redis, client in
            let answers = try await submit(
                client,
                scripts: [("a", Self.order)],
                commands: [("b", Self.order)],
                flushing: false
            )
            #expect(throws: Never.self) { try answers["a"]?.get() }
            #expect(try await redis.command("GET", "key") == "$2\r\nab\r\n")
        }
    }
}
