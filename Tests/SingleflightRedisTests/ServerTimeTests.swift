import HiredisClient
import Testing

@testable import SingleflightRedis

@Suite("The answer to TIME")
struct ServerTimeTests {
    @Test("is the time since 1970, in seconds and microseconds")
    func time() {
        #expect(answer("1700000000", "123456").serverTime == .microseconds(1_700_000_000_123_456))
    }

    @Test("is understood in integers, too")
    func integers() {
        let answer = RESPValue.array([.integer(1_700_000_000), .integer(123_456)])
        #expect(answer.serverTime == .microseconds(1_700_000_000_123_456))
        #expect(RESPValue.array([.integer(-1), .integer(0)]).serverTime == nil)
    }

    /// A hostile server's time was computed with until it overflowed, and ended the process at its next request to
    /// lead.
    @Test(
        "is not believed where it is no time that can be computed with",
        arguments: [
            answer("9223372036854775807", "0"), answer("9007199254741", "0"), answer("-1", "0"), answer("1", "1000000"),
            answer("1", "-1"), answer("1"), answer("1", "2", "3"), answer("now", "0"), answer("", ""), .null,
            .integer(1),
        ]
    )
    func hostile(_ answer: RESPValue) {
        #expect(answer.serverTime == nil)
    }
}

private func answer(_ parts: String...) -> RESPValue {
    .array(parts.map { .bulk(Array($0.utf8)) })
}
