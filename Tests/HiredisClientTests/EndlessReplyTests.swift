import HiredisClient
import TestSupport
import Testing

/// A server that is never done with a reply, to a client that has all the time in the world.
@Suite("A reply without end", .usesServer, .timeLimit(.minutes(3)))
struct EndlessReplyTests {
    /// Lower than the defaults, so that little has to be read: the event loops are those of all other tests, too.
    private static let limits = {
        var limits = RESPLimits()
        limits.maximumBulkBytes = 64 << 10
        limits.maximumLineBytes = 4 << 10
        limits.maximumReplyBytes = 256 << 10
        return limits
    }()

    struct Form: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var start: String
        var rest: String
    }

    @Test(
        "ends the connection once it is longer than the client believes, in whatever form it comes",
        arguments: [
            Form(testDescription: "a line", start: "+", rest: String(repeating: "a", count: 8_192)),
            Form(testDescription: "an error", start: "-", rest: String(repeating: "e", count: 8_192)),
            Form(testDescription: "a number", start: ":", rest: String(repeating: "1", count: 8_192)),
            Form(testDescription: "a header", start: "$", rest: String(repeating: "1", count: 8_192)),
            Form(testDescription: "a body", start: "$65537\r\n", rest: String(repeating: "b", count: 65_536)),
            Form(testDescription: "nested arrays", start: "", rest: String(repeating: "*1\r\n", count: 2_048)),
            // Each element, and their number, are as they may be.
            Form(
                testDescription: "an array of bodies",
                start: "*65536\r\n",
                rest: String(repeating: "$1000\r\n" + String(repeating: "c", count: 1_000) + "\r\n", count: 64)
            ),
            Form(
                testDescription: "an array of lines",
                start: "*65536\r\n",
                rest: "+" + String(repeating: "d", count: 4_000) + "\r\n"
            ),
        ]
    )
    func endless(_ form: Form) async throws {
        try await withFakeServer { _, command in
            command.first == "GET" ? .replyWithoutEnd(form.start, form.rest) : nil
        } configure: {
            $0.limits = Self.limits
        } _: { server, client in
            try await client.connected(within: .seconds(20))
            let error = await #expect(throws: RedisClientError.self) {
                _ = try await client.send(RedisCommand("GET", "key"), timeout: .seconds(120))
            }
            #expect(error?.code == .unknownOutcome)
            #expect((error?.underlying as? RedisClientError)?.code == .protocolViolation)
            // What lay in the sockets' buffers was sent, and not taken.
            #expect(server.endlessBytes < FakeServer.mostEndlessBytes)
            // The next connection is as good as any.
            let answer = try await client.send(RedisCommand("PING"))
            #expect(answer.string == "PONG")
        }
    }
}
