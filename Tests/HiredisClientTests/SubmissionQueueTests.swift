import NIOCore
import Testing

@testable import HiredisClient

/// What waits for a connection is bounded, and leaves in order or when its time is over.
@Suite struct SubmissionQueueTests {
    private static func time(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(0) + .milliseconds(milliseconds)
    }

    private static func refusal(_ action: SubmissionQueue<Int>.SubmitAction) -> RedisClientError.Code? {
        if case .refuse(let error) = action { error.code } else { nil }
    }

    @Test("one command more than may wait is refused as overloaded, and so is one after too many bytes")
    func bounds() {
        var queue = SubmissionQueue<Int>(maximumCount: 2, maximumBytes: 1_000)
        let command = RedisCommand("PING")
        let first = queue.submit(command, deadline: Self.time(10), completion: 1)
        #expect(Self.refusal(first) == nil)
        let second = queue.submit(command, deadline: Self.time(10), completion: 2)
        #expect(Self.refusal(second) == nil)
        let third = queue.submit(command, deadline: Self.time(10), completion: 3)
        #expect(Self.refusal(third) == .overloaded)

        var bytes = SubmissionQueue<Int>(maximumCount: 100, maximumBytes: 50)
        let large = RedisCommand("SET", "key", .bytes(Array(repeating: 0, count: 100)))
        let accepted = bytes.submit(large, deadline: Self.time(10), completion: 1)
        #expect(Self.refusal(accepted) == nil)
        let small = bytes.submit(command, deadline: Self.time(10), completion: 2)
        #expect(Self.refusal(small) == .overloaded)
    }

    @Test("what is past its deadline leaves with its bytes, and the rest keeps its order")
    func expired() {
        var queue = SubmissionQueue<Int>(maximumCount: 10, maximumBytes: 1_000)
        for (completion, deadline) in [(1, 30), (2, 10), (3, 40), (4, 20)] {
            _ = queue.submit(
                RedisCommand("GET", .integer(Int64(completion))),
                deadline: Self.time(Int64(deadline)),
                completion: completion
            )
        }
        let expired = queue.takeExpired(now: Self.time(20))
        #expect(expired.map(\.completion) == [2, 4])
        let batch = queue.takeAll()
        #expect(batch.submissions.map(\.completion) == [1, 3])
        #expect(batch.earliest == Self.time(30))
        #expect(String(buffer: batch.bytes) == "*2\r\n$3\r\nGET\r\n$1\r\n1\r\n*2\r\n$3\r\nGET\r\n$1\r\n3\r\n")
    }

    @Test("the event loop is woken once, and every 64 commands it is worth writing without waiting for that")
    func worthWriting() {
        var queue = SubmissionQueue<Int>(maximumCount: 1_000, maximumBytes: 100_000)
        func submitted(_ count: Int) -> [String] {
            (0..<count).map {
                "\(queue.submit(RedisCommand("PING"), deadline: Self.time(10), completion: $0))"
            }
        }
        let once = submitted(130)
        #expect(once.indices.filter { once[$0] == "wake" } == [0])
        #expect(once.indices.filter { once[$0] == "write" } == [63, 127])
        _ = queue.takeAll()
        #expect(submitted(64).last == "write")
        queue.awoke()
        #expect(submitted(1) == ["wake"])
    }

    @Test("after a shutdown everything is refused, and what waited is handed out")
    func shutdown() {
        var queue = SubmissionQueue<Int>(maximumCount: 10, maximumBytes: 1_000)
        _ = queue.submit(RedisCommand("PING"), deadline: Self.time(10), completion: 1)
        let waiting = queue.shutDown(RedisClientError(.shutDown, "over"))
        #expect(waiting.map(\.completion) == [1])
        let second = queue.submit(RedisCommand("PING"), deadline: Self.time(10), completion: 2)
        #expect(Self.refusal(second) == .shutDown)
    }
}
