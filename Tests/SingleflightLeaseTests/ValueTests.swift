import SingleflightTestKit
import Testing

@testable import SingleflightLease

@Suite("Bytes, identifiers, timers", .timeLimit(.minutes(4)))
struct ValueTests {
    @Test("an envelope comes back as it was, and a truncated one is refused or shorter, never a trap")
    func envelope() throws {
        var random = FlightRandom.seeded(1)
        for length in 0..<64 {
            let body = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            let envelope = Envelope(codec: "codec/1", leader: "host ä", body: body)
            #expect(try Envelope(bytes: envelope.bytes) == envelope)
        }
        let whole = Envelope(codec: "c", leader: "leader", body: [1, 2, 3])
        let header = whole.bytes.count - whole.body.count
        for length in 0..<whole.bytes.count {
            let cut = Array(whole.bytes.prefix(length))
            if length < header {
                #expect(throws: DistributedGroupError.self) { try Envelope(bytes: cut) }
            } else {
                #expect(try Envelope(bytes: cut).body.count == length - header)
            }
        }
    }

    // Cut within a character, a name was read as a repaired one, which was longer than the limit and no beginning of
    // the name.
    @Test("names and messages that are too long are cut between two characters")
    func longTexts() throws {
        let long = "x" + String(repeating: "ä", count: 3000)
        let envelope = try Envelope(bytes: Envelope(codec: "c", leader: "x" + long, body: []).bytes)
        #expect(envelope.leader == "xx" + String(repeating: "ä", count: 126))
        let body = FailureBody(TextError(description: long), typedFailures: nil, maximumTypedBytes: 0)
        #expect(body.message == "x" + String(repeating: "ä", count: 2047))
        #expect(FailureBody(bytes: body.bytes) == body)
        #expect("äöü".prefix(utf8: 6) == "äöü")
        #expect("äöü".prefix(utf8: 1) == "")
    }

    // A carriage return in front of the line feed hid it: the revocation was read as an expiry.
    @Test("the lines of a stored reason end at line feeds, whatever stands in front of them")
    func linesOfReasons() {
        #expect(CanceledFlight(wireForm: "revoked\nops\r\nwhy") == .revoked(by: "ops\r", reason: "why"))
    }

    @Test("a failure's body survives, and random or truncated bytes are refused, not a trap")
    func failureBody() {
        let body = FailureBody(Failure(), typedFailures: .codable(Failure.self), maximumTypedBytes: 1000)
        #expect(FailureBody(bytes: body.bytes) == body)
        for length in 0..<body.bytes.count {
            #expect(FailureBody(bytes: Array(body.bytes.prefix(length))) != body)
        }
        var random = FlightRandom.seeded(2)
        let coder = PayloadCoder(
            codec: JSONCodec<String>(),
            typedFailures: nil,
            maximumResultBytes: 100,
            label: "here"
        )
        let token = LeaseToken(using: &random)
        for _ in 0..<5000 {
            let bytes = (0..<Int.random(in: 0..<40, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            #expect(throws: DistributedGroupError.self) { try coder.decode(value: bytes).result.get() }
            #expect(throws: DistributedGroupError.self) { try coder.decode(failure: bytes, token: token).result.get() }
        }
    }

    @Test(
        "a reason to cancel comes back from its stored form",
        arguments: [
            CanceledFlight.leaseExpired, .supersededTooOften, .leaderShutDown, .leaderLeft,
            .revoked(by: "", reason: ""),
            .revoked(by: "ops", reason: "two\nlines\r\nand \u{301}more"),
        ]
    )
    func canceledFlight(_ reason: CanceledFlight) {
        #expect(CanceledFlight(wireForm: reason.wireForm) == reason)
    }

    @Test("a reason that only a later version knows is an expiry", arguments: ["", "new", "revoked", "revoked\nby"])
    func unknownReason(_ form: String) {
        #expect(CanceledFlight(wireForm: form) == .leaseExpired)
    }

    @Test("a token comes back from its 32 digits, and anything else is no token")
    func tokens() {
        var random = FlightRandom.seeded(3)
        for _ in 0..<100 {
            let token = LeaseToken(using: &random)
            #expect(token.description.utf8.count == 32)
            #expect(LeaseToken(token.description) == token)
            #expect(LeaseToken(bytes: Array(token.description.utf8)) == token)
            #expect(LeaseToken(token.description.dropLast()) == nil)
            #expect(LeaseToken(token.description + "0") == nil)
        }
        #expect(LeaseToken(String(repeating: "A", count: 32)) == nil)
        #expect(LeaseToken(String(repeating: "g", count: 32)) == nil)
    }

    @Test("timers fire in the order of their deadlines, equal ones in that of their making, canceled ones never")
    func timerQueue() {
        var random = FlightRandom.seeded(4)
        var queue = TimerQueue()
        var expected: [(deadline: LeaseInstant, timer: LeaseTimer)] = []
        for _ in 0..<2000 {
            let deadline = LeaseInstant(sinceOrigin: .milliseconds(Int.random(in: 0..<200, using: &random)))
            expected.append((deadline, queue.insert(at: deadline) {}))
            if Int.random(in: 0..<4, using: &random) > 0, !expected.isEmpty {
                let index = Int.random(in: 0..<expected.count, using: &random)
                queue.cancel(expected.remove(at: index).timer)
            }
        }
        #expect(queue.count == expected.count)
        let deadlines = expected.map(\.deadline).sorted()
        for deadline in deadlines {
            #expect(queue.nextDeadline() == deadline)
            let early = queue.popDue(now: deadline.advanced(by: .milliseconds(-1)))
            #expect(early == nil)
            #expect(queue.popDue(now: deadline) != nil)
        }
        #expect(queue.nextDeadline() == nil)
    }

    @Test("a backoff doubles to its limit, and jitters no lower than half of a step")
    func backoff() {
        var random = FlightRandom.seeded(5)
        var backoff = RetryDelay(first: .milliseconds(10), limit: .milliseconds(50))
        for step in [10, 20, 40, 50, 50] {
            let delay = backoff.next(using: &random)
            #expect(delay >= .milliseconds(step) / 2 && delay <= .milliseconds(step))
        }
    }
}

private struct TextError: Error, CustomStringConvertible {
    var description: String
}
