import NIOCore
import Testing

@testable import HiredisClient

/// Replies and the violation that ends the stream, if one does.
private func read(_ text: String, step: Int, limits: RESPLimits = RESPLimits()) -> ([RESPValue], RESPViolation?) {
    var reader = RESPReader(limits: limits)
    var replies: [RESPValue] = []
    let bytes = Array(text.utf8)
    do throws(RESPViolation) {
        for start in stride(from: 0, to: bytes.count, by: step) {
            bytes[start..<min(start + step, bytes.count)].withUnsafeBytes { reader.feed($0) }
            while let reply = try reader.next() {
                replies.append(reply)
            }
        }
        return (replies, nil)
    } catch {
        return (replies, error)
    }
}

/// Bytes that no server sends, and what is wrong with them.
struct HostileInput: Sendable, CustomTestStringConvertible {
    var text: String
    var reason: RESPViolation

    /// Some are long: a log needs no more than their beginning.
    var testDescription: String { "\(text.prefix(24).debugDescription): \(reason)" }
}

@Suite struct RESPReaderTests {
    @Test("a stream reads the same however it is cut", arguments: [1, 2, 3, 7, 1_000])
    func cuts(step: Int) {
        let text =
            "+OK\r\n-ERR no\r\n:-42\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n*3\r\n*1\r\n:1\r\n$-1\r\n+x\r\n"
        let expected: [RESPValue] = [
            .simpleString("OK"), .error(RedisServerError(message: "ERR no")), .integer(-42),
            .bulk(Array("a\r\nbc".utf8)), .bulk([]), .null, .null, .array([]),
            .array([.array([.integer(1)]), .null, .simpleString("x")]),
        ]
        let (replies, violation) = read(text, step: step)
        #expect(replies == expected)
        #expect(violation == nil)
    }

    @Test(
        "hostile input is refused for its reason, after the replies before it",
        arguments: [
            ("$16777217\r\n", .bulkTooLong), ("$9223372036854775808999\r\n", .bulkTooLong),
            ("*65537\r\n", .tooManyElements), ("*2\r\n*65535\r\n", .tooManyElements),
            ("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", .nestedTooDeeply),
            ("$-2\r\n", .malformedHeader), ("$\r\n", .malformedHeader), ("$01\r\n", .malformedHeader),
            ("*1x\r\n", .malformedHeader), ("$1\r\nabc", .missingTerminator), ("+a\rb\r\n", .missingTerminator),
            ("HTTP/1.1 400\r\n", .unknownType(UInt8(ascii: "H"))), ("%1\r\n", .unknownType(UInt8(ascii: "%"))),
            ("+" + String(repeating: "a", count: 65_537), .lineTooLong),
        ].map(HostileInput.init)
    )
    func hostile(input: HostileInput) {
        for step in [1, 1_000_000] {
            let (replies, violation) = read("+OK\r\n" + input.text, step: step)
            #expect(replies == [.simpleString("OK")])
            #expect(violation == input.reason)
        }
    }

    @Test("seven levels of arrays are read")
    func depth() {
        let (replies, violation) = read(String(repeating: "*1\r\n", count: 7) + ":1\r\n", step: 1)
        #expect(replies.count == 1)
        #expect(violation == nil)
    }

    @Test(
        "a string that is too long is read over where that is allowed, and costs its own reply only",
        arguments: [1, 3, 7, 1_000]
    )
    func readOver(step: Int) {
        var limits = RESPLimits()
        limits.maximumBulkBytes = 8
        limits.maximumSkippedBytes = 20
        limits.maximumReplyBytes = 40
        let long = "$20\r\n01234567890123456789\r\n"
        let text = "+a\r\n:1\r\n\(long)+b\r\n*3\r\n$2\r\nab\r\n\(long)$2\r\ncd\r\n*1\r\n\(long)$1\r\nx\r\n"
        let (replies, violation) = read(text, step: step, limits: limits)
        #expect(
            replies == [
                .simpleString("a"), .integer(1), .tooLong(20), .simpleString("b"), .tooLong(20), .tooLong(20),
                .bulk(Array("x".utf8)),
            ]
        )
        #expect(violation == nil)
        #expect(read("$21\r\n", step: step, limits: limits).1 == .bulkTooLong)
        #expect(read("\(long.dropLast())x", step: step, limits: limits).1 == .missingTerminator)
    }

    @Test("the bytes of one reply are bounded in all")
    func replyBytes() {
        var limits = RESPLimits()
        limits.maximumReplyBytes = 30
        #expect(read("*3\r\n$10\r\n0123456789\r\n$10\r\n", step: 1, limits: limits).1 == .replyTooLong)
        #expect(read("$10\r\n0123456789\r\n$10\r\n0123456789\r\n", step: 1, limits: limits).1 == nil)
    }
}

@Suite struct RedisURLTests {
    @Test(
        "a well-formed URL gives its parts",
        arguments: [
            ("redis://host", .init(endpoint: .tcp(host: "host", port: 6379))),
            ("REDIS://host:1/2", .init(endpoint: .tcp(host: "host", port: 1), database: 2)),
            ("redis://[::1]:7000/", .init(endpoint: .tcp(host: "::1", port: 7000))),
            ("redis://:p%40ss@h", .init(endpoint: .tcp(host: "h", port: 6379), password: .init("p@ss"))),
            ("redis://u:a:b@h", .init(endpoint: .tcp(host: "h", port: 6379), user: "u", password: .init("a:b"))),
            ("rediss://h:1/2", .init(endpoint: .tcp(host: "h", port: 1), tls: .init(), database: 2)),
            ("rediss://h?ca=/a%26b", .init(endpoint: .tcp(host: "h", port: 6379), tls: .init(authorities: "/a&b"))),
            (
                "rediss://h/?cert=c&key=k",
                .init(
                    endpoint: .tcp(host: "h", port: 6379),
                    tls: .init(identity: .init(certificate: "c", key: "k"))
                )
            ),
            ("redis+unix:///tmp/a%20b?db=3", .init(endpoint: .unixSocket(path: "/tmp/a b"), database: 3)),
            ("redis+unix://u:p@/s", .init(endpoint: .unixSocket(path: "/s"), user: "u", password: .init("p"))),
            // Characters that join with a separator hid it: what they belong to was taken for something else.
            (
                "redis://u:\u{301}p\u{6DD}@h",
                .init(endpoint: .tcp(host: "h", port: 6379), user: "u", password: .init("\u{301}p\u{6DD}"))
            ),
            ("redis+unix:///\u{301}s", .init(endpoint: .unixSocket(path: "/\u{301}s"))),
        ] as [(String, RedisURL)]
    )
    func wellFormed(text: String, url: RedisURL) throws {
        #expect(try RedisURL(text) == url)
    }

    @Test(
        "a malformed URL is refused for its reason, without quoting it",
        arguments: [
            ("host:6379", .missingScheme), ("http://secret", .unknownScheme), ("rediss://h?secret=1", .unexpectedQuery),
            ("redis://", .missingHost), ("redis://:1", .missingHost), ("redis://[::1", .invalidHost),
            ("redis://h:0", .invalidPort), ("redis://h:65536", .invalidPort), ("redis://h:+1", .invalidPort),
            ("redis://u:secret/x@h", .invalidPort), ("redis://h/x", .invalidDatabase),
            ("redis://h/-1", .invalidDatabase), ("redis://:%zz@h", .invalidPercentEncoding),
            ("redis://h?db=1", .unexpectedQuery), ("redis://h?ca=secret", .unexpectedQuery),
            ("rediss://h?ca=", .unexpectedQuery), ("rediss://h?ca=1&ca=secret", .unexpectedQuery),
            ("rediss://h?cert=secret", .incompleteCertificate), ("rediss://h#secret", .unexpectedQuery),
            ("redis+unix://", .missingSocketPath),
            ("redis+unix://h/s", .invalidHost), ("redis+unix:///s?db=", .invalidDatabase),
        ] as [(String, RedisURLError)]
    )
    func malformed(text: String, reason: RedisURLError) {
        let error = #expect(throws: RedisURLError.self) { try RedisURL(text) }
        #expect(error == reason)
        #expect(error.map { "\($0)".contains("secret") } == false)
    }

    @Test("no description and no dump shows the password")
    func secret() throws {
        let url = try RedisURL("redis://user:hunter2@host")
        var dumped = ""
        dump(url, to: &dumped)
        #expect(!("\(url)" + String(reflecting: url) + dumped).contains("hunter2"))
    }
}

@Suite struct EncodingTests {
    @Test(
        "SHA-1 agrees with the published vectors",
        arguments: [
            ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"), ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
            ),
        ]
    )
    func sha1(message: String, digest: String) {
        #expect(SHA1.hexadecimal(of: message.utf8) == digest)
    }

    @Test("a command is encoded as an array of bulk strings")
    func command() {
        var buffer = ByteBuffer()
        RedisCommand("SET", "k", .bytes([1, 13]), .integer(.min), .buffer(ByteBuffer(string: ""))).encode(into: &buffer)
        let text = "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\u{1}\r\r\n$20\r\n-9223372036854775808\r\n$0\r\n\r\n"
        #expect(Array(buffer.readableBytesView) == Array(text.utf8))
    }
}
