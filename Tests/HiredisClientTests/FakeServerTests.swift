import HiredisClient
import TestSupport
import Testing

/// The client against a server that misbehaves.
@Suite(.usesServer) struct FakeServerTests {
    private func failure(of command: RedisCommand, on client: RedisClient, timeout: Duration? = nil) async throws
        -> RedisClientError
    {
        try await #require(throws: RedisClientError.self) { _ = try await client.send(command, timeout: timeout) }
    }

    @Test("a command that is never answered times out, and its connection is not used again")
    func timeout() async throws {
        try await withFakeServer { _, command in
            command.first == "HANG" ? .silence : nil
        } _: { server, client in
            // Waiting for a connection counts: this is about a command that was sent.
            try await client.connected(within: .seconds(20))
            let error = try await failure(of: RedisCommand("HANG"), on: client, timeout: .milliseconds(300))
            #expect(error.code == .timedOut)
            #expect(error.mayHaveExecuted)
            _ = try await client.send(RedisCommand("PING"))
            #expect(server.connectionCount == 2)
        }
    }

    /// A connection that is closed in good order has its unsent bytes sent all the same, for as long as TCP repeats
    /// them: an acquire that timed out could arrive behind the release of its own lease.
    @Test("a connection on which a command timed out is reset, others are closed", .timeLimit(.minutes(4)))
    func reset() async throws {
        try await withFakeServer { _, command in
            switch command.first {
            case "HANG": .silence
            case "BYE": .reply("-READONLY replica\r\n")
            default: nil
            }
        } _: { server, client in
            try await client.connected(within: .seconds(20))
            _ = try await failure(of: RedisCommand("BYE"), on: client)
            _ = try await client.send(RedisCommand("PING"))
            #expect(server.connectionCount == 2)
            let error = try await failure(of: RedisCommand("HANG"), on: client, timeout: .milliseconds(300))
            #expect(error.code == .timedOut)
            try await until("a reset") { server.resetCount > 0 }
            #expect(server.resetCount == 1)
        }
    }

    @Test("whatever is submitted while there is no connection is answered by its deadline, and was not carried out")
    func disconnected() async throws {
        try await withFakeServer { _, command in
            command.first == "ROLE" ? .silence : nil
        } _: { server, client in
            let count = 1000
            let answers = await withTaskGroup(of: RedisClientError?.self) { group in
                for index in 0..<count {
                    group.addTask {
                        do throws(RedisClientError) {
                            _ = try await client.send(
                                RedisCommand("SET", "k", "v"),
                                timeout: .milliseconds(index % 300 + 1)
                            )
                            return nil
                        } catch {
                            return error
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.count == count)
            #expect(answers.allSatisfy { $0?.code == .notSent && $0?.mayHaveExecuted == false })
            #expect(!server.commands.contains { $0.first == "SET" })
        }
    }

    @Test(
        "a reply that is cut, missing or garbage leaves the outcome unknown",
        arguments: ["", "$5\r\nab", "garbage\r\n", "$99999999999\r\n"]
    )
    func lost(reply: String) async throws {
        try await withFakeServer { _, command in
            command.first == "GET" ? .replyAndClose(reply) : nil
        } _: { _, client in
            let error = try await failure(of: RedisCommand("GET", "k"), on: client, timeout: .seconds(20))
            #expect(error.code == .unknownOutcome)
            #expect(error.mayHaveExecuted)
        }
    }

    @Test("a script the server does not know is sent once more, by source")
    func noScript() async throws {
        try await withFakeServer { _, command in
            command.first == "EVALSHA" ? .reply("-NOSCRIPT none\r\n") : nil
        } _: { server, client in
            _ = try await client.evaluate(RedisScript("return 1"), keys: ["k"], arguments: [7])
            let evaluation = server.commands.filter { $0.first == "EVAL" }
            #expect(evaluation == [["EVAL", "return 1", "1", "k", "7"]])
        }
    }

    @Test("a server before 7.0 gets the legacy body, from then on by its own hash")
    func legacy() async throws {
        try await withFakeServer { _, command in
            switch command.first {
            case "EVALSHA": .reply("-NOSCRIPT none\r\n")
            case "EVAL" where command[1].hasPrefix("#!"):
                .reply("-ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'\r\n")
            default: nil
            }
        } _: { server, client in
            let script = RedisScript("#!lua\nreturn 1")
            _ = try await client.evaluate(script, keys: [])
            _ = try await client.evaluate(script, keys: [])
            let forms = server.commands.filter { $0.first?.hasPrefix("EVAL") == true }.map { $0[1] }
            let legacy = try #require(script.legacyBody)
            #expect(forms == [script.body.hash, script.body.source, legacy.source, legacy.hash, legacy.source])
        }
    }

    @Test("a replica is refused by name")
    func replica() async throws {
        try await withFakeServer { _, command in
            command.first == "ROLE" ? .reply("*1\r\n$5\r\nslave\r\n") : nil
        } _: { _, client in
            let error = await #expect(throws: RedisClientError.self) {
                try await client.connected(within: .seconds(2))
            }
            #expect(error?.code == .replica)
        }
    }

    @Test("READONLY is told to the caller, and the connection is replaced")
    func readOnly() async throws {
        try await withFakeServer { connection, command in
            connection == 0 && command.first == "SET" ? .reply("-READONLY replica\r\n") : nil
        } _: { server, client in
            let error = try await failure(of: RedisCommand("SET", "k", "v"), on: client)
            #expect(error.serverError?.code == "READONLY")
            let reply = try await client.send(RedisCommand("SET", "k", "v"))
            #expect(reply == .simpleString("OK"))
            #expect(server.connectionCount == 2)
        }
    }

    @Test("a refused connection is told with its reason, and its commands were certainly not executed")
    func refused() async throws {
        // A port that nobody can be given: one that has just been closed may belong to another test by now.
        let url = RedisURL(endpoint: .tcp(host: "127.0.0.1", port: 1))
        try await withClient(RedisClientConfiguration(url: url)) { client in
            let error = try await failure(of: RedisCommand("GET", "k"), on: client, timeout: .milliseconds(50))
            #expect(error.code == .notSent)
            #expect(!error.mayHaveExecuted)
            let reason = await #expect(throws: RedisClientError.self) {
                try await client.connected(within: .seconds(2))
            }
            #expect(reason?.message.contains("Connection refused") == true)
        }
    }

    @Test("shutdown answers what is in flight, and everything after it")
    func shutdown() async throws {
        try await withFakeServer { _, command in
            command.first == "HANG" ? .silence : nil
        } _: { _, client in
            try await client.connected(within: .seconds(20))
            let (answers, continuation) = AsyncStream.makeStream(of: Result<RESPValue, RedisClientError>.self)
            client.send(RedisCommand("HANG")) { continuation.yield($0) }
            await client.shutdown()
            await client.shutdown()
            client.start()
            guard case .failure(let error) = await answers.first(where: { _ in true }) else {
                Issue.record("the command cannot have succeeded")
                return
            }
            #expect([.unknownOutcome, .shutDown].contains(error.code))
            let late = try await failure(of: RedisCommand("GET", "k"), on: client)
            #expect(late.code == .shutDown)
        }
    }
}
