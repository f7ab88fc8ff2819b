import HiredisClient
import Logging
import NIOCore
import PrivateRedis
import TestSupport
import Testing

/// The client against a real redis-server.
@Suite(.usesServer) struct RedisServerTests {
    @Test("ten thousand commands from many tasks are each answered with their own reply")
    func pipelining() async throws {
        try await withServer { _, client in
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for index in 0..<10_000 {
                    group.addTask {
                        try await client.send(RedisCommand("ECHO", .integer(Int64(index)))).string == "\(index)"
                    }
                }
                var right = 0
                for try await isRight in group where isRight {
                    right += 1
                }
                #expect(right == 10_000)
            }
        }
    }

    @Test("commands that are sent in one go on the event loop are answered in their order, each with its own reply")
    func inOneGo() async throws {
        try await withServer { _, client in
            let (replies, continuation) = AsyncStream.makeStream(of: String?.self)
            client.eventLoop.execute {
                for index in 0..<1_000 {
                    client.send(RedisCommand("ECHO", .integer(Int64(index)))) { result in
                        continuation.yield(try? result.get().string)
                    }
                }
            }
            var heard: [String?] = []
            for await reply in replies.prefix(1_000) { heard.append(reply) }
            #expect(heard == (0..<1_000).map { "\($0)" })
        }
    }

    @Test("a value of megabytes goes there and back unchanged")
    func largeValue() async throws {
        try await withServer { _, client in
            let value = (0..<4 << 20).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            _ = try await client.send(RedisCommand("SET", "big", .bytes(value)))
            #expect(try await client.send(RedisCommand("GET", "big")).bytes == value)
        }
    }

    @Test("a subscription hears what is published")
    func publish() async throws {
        try await withServer { _, client in
            let (events, continuation) = AsyncStream.makeStream(of: [UInt8].self)
            let inbox = client.makeSubscription(to: "inbox") { event in
                if case .message(let message) = event { continuation.yield(message) }
            }
            inbox.start()
            try await inbox.subscribed(within: .seconds(20))
            #expect(try await client.send(RedisCommand("PUBLISH", "inbox", "hello")) == .integer(1))
            #expect(await events.first { _ in true } == Array("hello".utf8))
            await inbox.shutdown()
        }
    }

    @Test("after CLIENT KILL both connections come back, and the subscription says so")
    func clientKill() async throws {
        try await withServer { _, client in
            let (events, continuation) = AsyncStream.makeStream(of: String.self)
            let inbox = client.makeSubscription(to: "inbox") { event in
                switch event {
                case .subscribed: continuation.yield("subscribed")
                case .message: continuation.yield("message")
                case .disconnected: continuation.yield("disconnected")
                }
            }
            inbox.start()
            var iterator = events.makeAsyncIterator()
            #expect(await iterator.next() == "subscribed")

            #expect(try await client.send(RedisCommand("CLIENT", "KILL", "TYPE", "pubsub")) == .integer(1))
            #expect(await iterator.next() == "disconnected")
            #expect(await iterator.next() == "subscribed")

            let own = try await client.send(RedisCommand("CLIENT", "ID"))
            let id = try #require(own.integer)
            _ = try? await client.send(RedisCommand("CLIENT", "KILL", "ID", .integer(id), "SKIPME", "no"))
            // What is sent before the client knows of the end is lost with the connection.
            try await until("another connection") {
                guard let current = try? await client.send(RedisCommand("CLIENT", "ID")) else { return false }
                return current != own
            }

            #expect(try await client.send(RedisCommand("PUBLISH", "inbox", "hello")) == .integer(1))
            #expect(await iterator.next() == "message")
            await inbox.shutdown()
        }
    }

    @Test("commands submitted while the server is restarted are answered by the new one")
    func restart() async throws {
        try await withServer { server, client in
            _ = try await client.send(RedisCommand("SET", "key", "old"))
            await server.kill()
            let (answers, continuation) = AsyncStream.makeStream(of: Result<RESPValue, RedisClientError>.self)
            client.send(RedisCommand("GET", "key")) { continuation.yield($0) }
            try await server.restart()
            // It waited for the new server, which has no data, or the old one took it along.
            switch await answers.first(where: { _ in true }) {
            case .success(let reply): #expect(reply == .null)
            case .failure(let error): #expect(error.code == .unknownOutcome)
            case nil: Issue.record("the command was not answered")
            }
            #expect(try await client.send(RedisCommand("GET", "key")) == .null)
        }
    }

    @Test("a wrong password is told at once and by name")
    func wrongPassword() async throws {
        try await PrivateRedis.with(.init(password: "right")) { server in
            var url = try RedisURL(server.url)
            url.password = .init("wrong")
            try await withClient(RedisClientConfiguration(url: url)) { client in
                let error = try await #require(throws: RedisClientError.self) {
                    try await client.connected(within: .seconds(20))
                }
                #expect(error.code == .authenticationFailed)
                #expect(error.serverError?.code == "WRONGPASS")
                let refused = await #expect(throws: RedisClientError.self) {
                    _ = try await client.send(RedisCommand("GET", "key"), timeout: .seconds(600))
                }
                #expect(refused?.code == .authenticationFailed)
                #expect(refused?.mayHaveExecuted == false)
                #expect(client.lastError?.code == .authenticationFailed)
            }
        }
    }

    @Test("user, password and database of the URL are used")
    func loginAndDatabase() async throws {
        try await withServer(.init(users: ["worker on >pass ~* +@all"])) {
            $0.target.credentials = RedisCredentials(user: "worker", password: "pass")
            $0.target.database = 3
            $0.clientName = "sf:test"
        } _: { _, client in
            let user = try await client.send(RedisCommand("ACL", "WHOAMI"))
            #expect(user.string == "worker")
            let name = try await client.send(RedisCommand("CLIENT", "GETNAME"))
            #expect(name.string == "sf:test")
            let info = try await client.send(RedisCommand("CLIENT", "INFO"))
            #expect(info.string?.contains(" db=3 ") == true)
        }
    }

    @Test("a server that listens on TCP is reached by host name")
    func tcp() async throws {
        try await PrivateRedis.with(.init(listening: .tcp(.free))) { server in
            let port = try #require(server.port)
            let url = RedisURL(endpoint: .tcp(host: "localhost", port: Int(port)))
            try await withClient(RedisClientConfiguration(url: url)) { client in
                try await client.connected(within: .seconds(20))
                #expect(try await client.send(RedisCommand("PING")) == .simpleString("PONG"))
            }
        }
    }

    @Test("a script is known again after SCRIPT FLUSH")
    func scriptFlush() async throws {
        try await withServer { _, client in
            let script = RedisScript("#!lua flags=allow-oom\nreturn {KEYS[1], ARGV[1]}")
            let expected = RESPValue.array([.bulk(Array("key".utf8)), .bulk(Array("7".utf8))])
            for _ in 0..<2 {
                #expect(try await client.evaluate(script, keys: ["key"], arguments: [7]) == expected)
                #expect(
                    try await client.send(RedisCommand("SCRIPT", "EXISTS", .string(script.body.hash)))
                        == .array([.integer(1)])
                )
                _ = try await client.send(RedisCommand("SCRIPT", "FLUSH"))
            }
        }
    }

    @Test("an error reply is a failure that carries the server's words")
    func serverError() async throws {
        try await withServer { _, client in
            _ = try await client.send(RedisCommand("SET", "text", "a"))
            let error = await #expect(throws: RedisClientError.self) {
                _ = try await client.send(RedisCommand("LPUSH", "text", "b"))
            }
            #expect(error?.code == .server)
            #expect(error?.serverError?.code == "WRONGTYPE")
        }
    }

    @Test("a connection that timed out is never used again, and its late answers reach nobody")
    func frozen() async throws {
        try await withServer { server, client in
            let before = try await client.send(RedisCommand("CLIENT", "ID"))
            server.pause()
            var failures: [RedisClientError] = []
            // The first has time enough to be sent on a busy machine, too.
            for (index, timeout) in [Duration.seconds(3), .milliseconds(300), .milliseconds(300)].enumerated() {
                let command = RedisCommand("ECHO", .integer(Int64(index)))
                let error = await #expect(throws: RedisClientError.self) {
                    _ = try await client.send(command, timeout: timeout)
                }
                failures += error.map { [$0] } ?? []
            }
            server.resume()
            // The first was on the connection that then was given up; the others found none.
            #expect(failures.map(\.code) == [.timedOut, .notSent, .notSent])
            #expect(failures.map(\.mayHaveExecuted) == [true, false, false])
            for index in 100..<110 {
                #expect(try await client.send(RedisCommand("ECHO", .integer(Int64(index)))).string == "\(index)")
            }
            let after = try await client.send(RedisCommand("CLIENT", "ID"))
            #expect(after != before)
            let id = try #require(before.integer)
            try await until("the server to let go of the first connection") {
                try await client.send(RedisCommand("CLIENT", "LIST", "ID", .integer(id))).string == ""
            }
        }
    }

    @Test("whatever becomes of the connection, every command is answered exactly once", arguments: 1...3)
    func everythingIsAnswered(round: Int) async throws {
        try await withServer { server, client in
            let count = 5_000
            let answers = Tally(count)
            let (answered, continuation) = AsyncStream.makeStream(of: Void.self)
            await withTaskGroup(of: Void.self) { group in
                for worker in 0..<4 {
                    group.addTask {
                        for index in stride(from: worker, to: count, by: 4) {
                            // Some kill the connection they travel on; the rest are in flight or not yet sent then.
                            let isKiller = (index &* 7919 &+ round) % 503 == 0
                            let command =
                                isKiller
                                ? RedisCommand("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
                                : RedisCommand("SET", "key", .integer(Int64(index)))
                            client.send(command) { result in
                                if case .failure(let error) = result {
                                    #expect(error.code == .unknownOutcome)
                                }
                                answers.add(index)
                                continuation.yield()
                            }
                            if index % 251 == 0 { await Task.yield() }
                        }
                    }
                }
            }
            var iterator = answered.makeAsyncIterator()
            for _ in 0..<count {
                await iterator.next()
            }
            await client.shutdown()
            #expect(answers.counts.allSatisfy { $0 == 1 })
        }
    }
}
