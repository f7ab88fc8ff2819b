import PrivateRedis
import SingleflightRedis
import Synchronization
import TestSupport
import Testing

@Suite("Streams on a real Redis", .usesServer, .timeLimit(.minutes(4)))
struct StreamTests {
    private static func group(
        _ store: RedisLeaseStore,
        limits: StreamLimits = .init(),
        maximumPart: Int = 8 << 20
    ) throws -> StreamGroup<String, [UInt8]> {
        try StreamGroup(
            "streams",
            store: store,
            configuration: .init(
                lease: .init(duration: .seconds(60)),
                results: .init(maximumBytes: maximumPart),
                unavailable: .fail
            ),
            limits: limits
        )
    }

    /// Writes parts that a test gives it, when it gives them.
    private final class Source: Sendable {
        let parts: AsyncThrowingStream<[UInt8], any Error>
        let feed: AsyncThrowingStream<[UInt8], any Error>.Continuation
        let starts = Counter()

        init() { (self.parts, self.feed) = AsyncThrowingStream.makeStream() }

        func write(to writer: StreamWriter<String, [UInt8]>) async throws {
            self.starts.increment()
            for try await part in self.parts { try await writer.write(part) }
            try Task.checkCancellation()
        }
    }

    private static func all(_ stream: FlightStream<[UInt8]>) async throws -> [[UInt8]] {
        var parts: [[UInt8]] = []
        for try await part in stream { parts.append(part) }
        return parts
    }

    private static func code(of stream: FlightStream<[UInt8]>) async -> DistributedGroupError.Code? {
        do {
            _ = try await Self.all(stream)
            return nil
        } catch {
            return (error as? DistributedGroupError)?.code
        }
    }

    /// Two processes share one stream; the second part is a long one, which lies in several chunks.
    static func share(_ key: String, _ one: RedisLeaseStore, _ two: RedisLeaseStore) async throws {
        let (here, there) = (try Self.group(one), try Self.group(two))
        let (source, other) = (Source(), Source())
        let long = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let led = here.stream(key) { try await source.write(to: $0) }
        try await until("the operation") { source.starts.value == 1 }
        source.feed.yield([1])
        let followed = there.stream(key) { try await other.write(to: $0) }
        try await one.untilWaiters(1, group: "streams", key: key)
        var follower = followed.makeAsyncIterator()
        #expect(try await follower.next() == [1])
        source.feed.yield(long)
        #expect(try await follower.next() == long)
        let late = there.follow(key)
        source.feed.yield([])
        source.feed.yield([3])
        #expect(try await follower.next() == [])
        #expect(try await follower.next() == [3])
        source.feed.finish()
        #expect(try await follower.next() == nil)
        #expect(try await Self.all(late) == [[1], long, [], [3]])
        #expect(try await Self.all(led) == [[1], long, [], [3]])
        #expect(source.starts.value == 1)
        #expect(other.starts.value == 0)
    }

    @Test("every process has all parts while they are made, however long they are, and however late it comes")
    func shared() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                try await two.untilSubscribed()
                try await Self.share("key", one, two)
            }
        }
    }

    @Test("no key of a stream is without a time to live")
    func lives() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, _ in
                let group = try Self.group(one)
                let stream = group.stream("key") { for part: UInt8 in 0..<3 { try await $0.write([part]) } }
                #expect(try await Self.all(stream) == [[0], [1], [2]])
                for key in try await redis.command("KEYS", "*").split(separator: "\r\n").filter({ $0.hasPrefix("sf2:") }
                ) {
                    let life = try await redis.command("PTTL", String(key))
                    #expect(Int(life.dropFirst().dropLast(2)) ?? -1 > 0, "\(key)")
                }
            }
        }
    }

    @Test("a server without room ends the stream for everybody, after the parts that it took")
    func full() async throws {
        let configuration = PrivateRedis.Configuration(extraLines: ["maxmemory 24mb", "maxmemory-policy noeviction"])
        try await PrivateRedis.with(configuration) { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(20)) { one, two in
                try await two.untilSubscribed()
                let (here, there) = (try Self.group(one), try Self.group(two))
                let gate = Gate()
                let led = here.stream("key") { writer in
                    await gate.wait()
                    // More than the server has room for.
                    for _ in 0..<48 { try await writer.write([UInt8](repeating: 7, count: 1 << 20)) }
                }
                await gate.untilArrived()
                let followed = there.stream("key") { _ in }
                try await one.untilWaiters(1, group: "streams", key: "key")
                gate.open()
                #expect(await Self.code(of: led) == .storeFull)
                #expect(await Self.code(of: followed) == .storeFull)
            }
        }
    }

    @Test("a server that loses its data ends a stream with an error, within the lease")
    func lostData() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                try await two.untilSubscribed()
                let (here, there) = (try Self.group(one), try Self.group(two))
                let source = Source()
                let led = here.stream("key") { try await source.write(to: $0) }
                source.feed.yield([1])
                try await until("the operation") { source.starts.value == 1 }
                let followed = there.stream("key") { _ in }
                try await one.untilWaiters(1, group: "streams", key: "key")
                var follower = followed.makeAsyncIterator()
                #expect(try await follower.next() == [1])
                let chunks = try await redis.command("KEYS", "*:chunks:*").split(separator: "\r\n").last
                _ = try await redis.command("DEL", try #require(chunks.map(String.init)))
                source.feed.yield([2])
                source.feed.finish()
                #expect(await Self.code(of: led) == .streamLost)
                #expect(await Self.code(of: followed) == .streamLost)
            }
        }
    }

    @Test("a reader that stops keeps nobody, and has everything when it goes on")
    func slowReader() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                try await two.untilSubscribed()
                let (here, there) = (try Self.group(one), try Self.group(two))
                let part = [UInt8](repeating: 9, count: 100_000)
                let gate = Gate()
                let led = here.stream("key") { writer in
                    await gate.wait()
                    for _ in 0..<100 { try await writer.write(part) }
                }
                await gate.untilArrived()
                let slow = there.stream("key") { _ in }
                try await one.untilWaiters(1, group: "streams", key: "key")
                gate.open()
                // Ten windows' worth of parts is written, and the flight over, before the other reads any of it.
                #expect(try await Self.all(led).count == 100)
                let parts = try await Self.all(slow)
                #expect(parts.count == 100)
                #expect(parts.allSatisfy { $0 == part })
            }
        }
    }
}
