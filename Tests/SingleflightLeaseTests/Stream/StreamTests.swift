import ObservabilityTestSupport
import SingleflightLease
import SingleflightTestKit
import TestSupport
import Testing

@Suite("Streams", .timeLimit(.minutes(4)))
struct StreamTests {
    private let cluster: Cluster
    private let a: StreamProcess
    private let b: StreamProcess

    init() throws {
        self.cluster = try Cluster()
        self.a = try StreamProcess("a", on: self.cluster)
        self.b = try StreamProcess("b", on: self.cluster)
    }

    private func expectNothingLeft(_ processes: StreamProcess...) async throws {
        for process in processes {
            await process.store.untilIdle()
            try await until("no flights") { process.group.inFlight == 0 }
        }
        try await until("no timers") { self.cluster.clock.timerCount == 0 }
        self.cluster.clock.advance(by: .seconds(60))
        #expect(self.cluster.server.isEmpty)
    }

    /// The next part, for a task of its own: iterators of one stream share their place.
    private static func next(of stream: FlightStream<String>) -> Task<String?, any Error> {
        Task {
            var iterator = stream.makeAsyncIterator()
            return try await iterator.next()
        }
    }

    /// Two callers of a stream that the first leads, and of which the second, in the other process, has read "one".
    private func led(
        _ source: PartSource,
        _ configuration: DistributedGroupConfiguration? = nil,
        waitingAtMost limit: Duration? = nil
    ) async throws -> (here: FlightStream<String>, there: FlightStream<String>) {
        let leader = try configuration.map { try StreamProcess("a", on: self.cluster, $0) } ?? self.a
        let here = leader.stream(source)
        let there = self.b.stream(PartSource(), waitingAtMost: limit)
        await self.cluster.server.untilWaiters(of: self.cluster.key, 1)
        #expect(try await Self.next(of: there).value == "one")
        return (here, there)
    }

    // MARK: - Parts

    @Test("every caller, here and elsewhere, early and late, gets all parts while they are made")
    func live() async throws {
        let source = PartSource("one")
        let early = self.a.stream(source)
        let other = self.a.stream(PartSource())
        var first = early.makeAsyncIterator()
        #expect(try await first.next() == "one")
        let elsewhere = self.b.stream(PartSource())
        await self.cluster.server.untilWaiters(of: self.cluster.key, 1)
        var follower = elsewhere.makeAsyncIterator()
        #expect(try await follower.next() == "one")
        source.give("two")
        #expect(try await follower.next() == "two")
        #expect(try await first.next() == "two")
        let late = self.b.stream(PartSource())
        source.give("")
        source.finish()
        #expect(await Reading(late) == Reading(["one", "two", ""]))
        #expect(await Reading(other) == Reading(["one", "two", ""]))
        #expect(try await follower.next() == "")
        #expect(try await follower.next() == nil)
        #expect(try await follower.next() == nil)
        #expect(try await first.next() == "")
        #expect(try await first.next() == nil)
        #expect(source.starts == 1)
        try await self.expectNothingLeft(self.a, self.b)
    }

    @Test("a stream may be empty")
    func empty() async throws {
        let source = PartSource()
        let (here, there) = (self.a.stream(source), self.b.stream(source))
        source.finish()
        #expect(await Reading(here) == Reading([]))
        #expect(await Reading(there) == Reading([]))
    }

    @Test("parts that are longer than a chunk, and many short ones, come as they were written")
    func chunks() async throws {
        let parts = (0..<300).map { String(repeating: "\($0 % 10)", count: $0 % 50 == 0 ? 700_000 : $0) }
        let source = PartSource()
        let (here, there) = (self.a.stream(source), self.b.stream(source))
        for part in parts { source.give(part) }
        source.finish()
        #expect(await Reading(here) == Reading(parts))
        #expect(await Reading(there) == Reading(parts))
    }

    @Test("a lost announcement costs time, and no part")
    func lostNews() async throws {
        let source = PartSource("one")
        let (here, there) = try await self.led(source)
        var follower = there.makeAsyncIterator()
        self.cluster.server.dropsAnnouncements = true
        let next = Self.next(of: there)
        try await source.untilWritten(1)
        source.give("two")
        try await source.untilWritten(2)
        // The leader's renewal, the follower's question, and the reader's look.
        await self.cluster.clock.untilScheduled(4)
        self.cluster.clock.advance(by: .milliseconds(1001))
        #expect(try await next.value == "two")
        self.cluster.server.dropsAnnouncements = false
        source.finish()
        #expect(await Reading(here) == Reading(["one", "two"]))
        #expect(try await follower.next() == nil)
    }

    @Test("a reader that missed news looks as soon as its inbox is connected again")
    func gap() async throws {
        let source = PartSource("one")
        let (here, there) = try await self.led(source)
        var follower = there.makeAsyncIterator()
        self.cluster.server.dropsAnnouncements = true
        let next = Self.next(of: there)
        source.give("two")
        try await source.untilWritten(2)
        await self.cluster.clock.untilScheduled(4)
        self.b.store.resumeInbox()
        self.cluster.clock.advance(by: .milliseconds(51))
        #expect(try await next.value == "two")
        self.cluster.server.dropsAnnouncements = false
        source.finish()
        #expect(await Reading(here) == Reading(["one", "two"]))
        #expect(try await follower.next() == nil)
    }

    @Test("a chunk whose reply was lost is sent again, and stored once")
    func lostReply() async throws {
        let source = PartSource()
        let here = self.a.stream(source)
        try await source.untilStarted()
        self.a.store.onRequest { $0 == .append ? .replyLost(.cutOff) : .none }
        source.give("one")
        try await source.untilWritten(1)
        source.give("two")
        self.a.store.onRequest { _ in .none }
        self.cluster.clock.advance(by: .milliseconds(100))
        source.finish()
        #expect(await Reading(here) == Reading(["one", "two"]))
        try await self.expectNothingLeft(self.a)
    }

    // MARK: - Ends

    @Test("an error comes after the parts before it, everywhere")
    func error() async throws {
        let source = PartSource("one", "two")
        let (here, there) = (self.a.stream(source), self.b.stream(source))
        try await source.untilStarted()
        source.finish(WritingFailed(description: "broken"))
        #expect(await Reading(here) == Reading(["one", "two"], error: "broken"))
        #expect(await Reading(there) == Reading(["one", "two"], error: "broken"))
        try await self.expectNothingLeft(self.a, self.b)
    }

    @Test("a stream that is too long fails for everybody, and so does a part")
    func tooLong() async throws {
        let limits = StreamLimits(maximumBytes: 30)
        let short = try StreamProcess("short", on: self.cluster, limits: limits)
        let source = PartSource("0123456789")
        let (here, there) = (short.stream(source), self.b.stream(source))
        var reader = here.makeAsyncIterator()
        #expect(try await reader.next() == "0123456789")
        await self.cluster.server.untilWaiters(of: self.cluster.key, 1)
        source.give("0123456789")
        source.finish()
        #expect(await Reading(there) == Reading(["0123456789"], error: "streamTooLong"))
        #expect(await Reading(here) == Reading([], error: "streamTooLong"))
        try await self.expectNothingLeft(short, self.b)
        let narrow = try StreamProcess("narrow", on: self.cluster, .test { $0.results.maximumBytes = 40 })
        let long = PartSource("one", String(repeating: "x", count: 50))
        let stream = narrow.stream(long)
        #expect(await Reading(stream) == Reading(["one"], error: "resultTooLarge"))
    }

    @Test("a caller waits no longer than it wants to, and the stream goes on for the others")
    func waitLimit() async throws {
        let source = PartSource("one")
        let (here, there) = try await self.led(source, waitingAtMost: .milliseconds(500))
        self.cluster.clock.advance(by: .milliseconds(500))
        #expect(await Reading(there) == Reading([], error: "the wait limit was reached"))
        source.give("two")
        source.finish()
        #expect(await Reading(here) == Reading(["one", "two"]))
        try await self.expectNothingLeft(self.a, self.b)
    }

    @Test("a stream that is revoked ends for everybody after what came, and its operation is canceled")
    func revoked() async throws {
        let source = PartSource("one")
        let (here, there) = try await self.led(source)
        let request = RevokeRequest(key: self.cluster.key, token: nil, by: "ops", reason: "stuck")
        #expect(try await self.b.store.answer(to: request).get() != .nothing)
        #expect(await Reading(there) == Reading([], error: "revoked by ops: stuck"))
        #expect(await Reading(here) == Reading(["one"], error: "revoked by ops: stuck"))
        try await source.untilEnded()
        try await self.expectNothingLeft(self.a, self.b)
    }

    @Test("a leader that shuts down ends the stream for everybody after what came")
    func shutDown() async throws {
        let source = PartSource("one")
        let (here, there) = try await self.led(source)
        #expect(try await Self.next(of: here).value == "one")
        self.a.store.shutDown()
        #expect(await Reading(there) == Reading([], error: "the leader shut down"))
        #expect(await Reading(here) == Reading([], error: "the leader shut down"))
        try await source.untilEnded()
        try await self.expectNothingLeft(self.a, self.b)
    }

    @Test("a stream that is made for longer than a flight may take fails for everybody after what came")
    func flightTooLong() async throws {
        let source = PartSource("one")
        let (here, there) = try await self.led(source, .test { $0.limits.flight = .seconds(10) })
        self.cluster.clock.advance(by: .seconds(10))
        #expect(await Reading(there) == Reading([], error: "flightTooLong"))
        #expect(await Reading(here) == Reading(["one"], error: "flightTooLong"))
        try await source.untilEnded()
        try await self.expectNothingLeft(self.b)
    }

    @Test("a leader that is lost cancels the stream after what came")
    func leaderLost() async throws {
        let source = PartSource("one")
        let (here, there) = try await self.led(source)
        self.a.store.onRequest { _ in .requestLost(.cutOff) }
        self.a.store.die()
        async let rest = Reading(there)
        for _ in 0..<10 { self.cluster.clock.advance(by: .seconds(1)) }
        #expect(await rest == Reading([], error: "the leader's lease expired"))
        withExtendedLifetime(here) {}
    }

    @Test("a new leader begins anew: a plain reader is told by an error, one of events goes on")
    func takeover() async throws {
        let configuration = DistributedGroupConfiguration.test { $0.lease.leaderLoss = .takeOver(attempts: 2) }
        let a = try StreamProcess("a", on: self.cluster, configuration)
        let b = try StreamProcess("b", on: self.cluster, configuration)
        let source = PartSource("one")
        let here = a.stream(source)
        let again = PartSource("eins", "zwei")
        let plain = b.stream(again)
        let events = b.stream(again)
        let unread = b.stream(again)
        await self.cluster.server.untilWaiters(of: self.cluster.key, 1)
        var plainReader = plain.makeAsyncIterator()
        var eventReader = events.events.makeAsyncIterator()
        #expect(try await plainReader.next() == "one")
        guard case .part("one") = try await eventReader.next() else {
            Issue.record("the first part did not come")
            return
        }
        a.store.onRequest { _ in .requestLost(.cutOff) }
        a.store.die()
        async let plainRest = Reading(plain)
        async let eventRest = Reading(eventsOf: events)
        for _ in 0..<5 { self.cluster.clock.advance(by: .seconds(1)) }
        try await again.untilWritten(2)
        again.finish()
        #expect(await plainRest == Reading([], error: "streamRestarted"))
        #expect(await eventRest == Reading(["|", "eins", "zwei"]))
        // Nothing was read that could have become void.
        #expect(await Reading(unread) == Reading(["eins", "zwei"]))
        withExtendedLifetime(here) {}
    }

    @Test("the last reader that leaves, anywhere, cancels the operation")
    func abandoned() async throws {
        let source = PartSource("one")
        var here: FlightStream<String>? = self.a.stream(source)
        var there: FlightStream<String>? = self.b.stream(PartSource())
        await self.cluster.server.untilWaiters(of: self.cluster.key, 1)
        var reader = here?.makeAsyncIterator()
        #expect(try await reader?.next() == "one")
        (here, reader) = (nil, nil)
        try await until("the leader's caller to leave") { self.a.group.inFlight == 0 }
        #expect(source.starts == 1)
        source.give("two")
        try await source.untilWritten(2)
        there = nil
        try await source.untilEnded()
        withExtendedLifetime((here, there)) {}
        try await self.expectNothingLeft(self.a, self.b)
    }

    @Test("a reader whose task is canceled leaves")
    func canceled() async throws {
        let source = PartSource()
        let stream = self.a.stream(source)
        let task = Task { await Reading(stream) }
        try await source.untilStarted()
        task.cancel()
        #expect(await task.value == Reading([], error: "CancellationError()"))
        try await source.untilEnded()
        try await self.expectNothingLeft(self.a)
    }

    @Test("a stream that is canceled is left, also where others hold it")
    func letGo() async throws {
        let source = PartSource("one")
        let stream = self.a.stream(source)
        var reader = stream.makeAsyncIterator()
        #expect(try await reader.next() == "one")
        let waiting = Task { await Reading(stream) }
        stream.cancel()
        #expect(await waiting.value == Reading([], error: "CancellationError()"))
        await #expect(throws: CancellationError.self) { try await Self.next(of: stream).value }
        try await source.untilEnded()
        try await self.expectNothingLeft(self.a)
        stream.cancel()
    }

    // MARK: - What is kept

    @Test("within the reuse window the whole stream is given again")
    func reuse() async throws {
        let configuration = DistributedGroupConfiguration.test { $0.results.reuse = .seconds(20) }
        let a = try StreamProcess("a", on: self.cluster, configuration)
        let source = PartSource("one", "two")
        source.finish()
        #expect(await Reading(a.stream(source)) == Reading(["one", "two"]))
        await a.store.untilIdle()
        self.cluster.clock.advance(by: .milliseconds(19_900))
        #expect(await Reading(a.stream(PartSource())) == Reading(["one", "two"]))
        #expect(source.starts == 1)
    }

    @Test("what is stored is kept for as long as the flight runs, and as long as somebody has not read it")
    func life() async throws {
        let source = PartSource("one", "two")
        let stream = self.a.stream(source)
        let slow = self.a.stream(source)
        var reader = stream.makeAsyncIterator()
        #expect(try await reader.next() == "one")
        #expect(try await reader.next() == "two")
        // Long after the life that the chunk was first given.
        for _ in 0..<60 { self.cluster.clock.advance(by: .seconds(1)) }
        source.finish()
        #expect(try await reader.next() == nil)
        await self.a.store.untilIdle()
        for _ in 0..<60 { self.cluster.clock.advance(by: .seconds(1)) }
        #expect(await Reading(slow) == Reading(["one", "two"]))
        try await self.expectNothingLeft(self.a)
    }

    @Test("a silent stream goes on where the store has no room to prolong its life, and a written one does not")
    func noRoom() async throws {
        let source = PartSource("one")
        let stream = self.a.stream(source)
        try await source.untilWritten(1)
        self.a.store.onRequest { $0 == .append ? .requestLost(LeaseStoreError(.full, "no room")) : .none }
        for _ in 0..<4 { self.cluster.clock.advance(by: .seconds(1)) }
        self.a.store.onRequest { _ in .none }
        source.give("two")
        try await source.untilWritten(2)
        for _ in 0..<2 { self.cluster.clock.advance(by: .seconds(1)) }
        self.a.store.onRequest { $0 == .append ? .requestLost(LeaseStoreError(.full, "no room")) : .none }
        source.give("three")
        source.finish()
        #expect(await Reading(stream) == Reading(["one", "two"], error: "storeFull"))
        try await self.expectNothingLeft(self.a)
    }

    @Test("what was written before a part that is refused is there for everybody")
    func refusedPart() async throws {
        let narrow = try StreamProcess("narrow", on: self.cluster, .test { $0.results.maximumBytes = 40 })
        let gate = RequestGate()
        narrow.store.onRequest { $0 == .append ? .requestHeld(gate) : .none }
        let source = PartSource("one", "two", String(repeating: "x", count: 50))
        let stream = narrow.stream(source)
        await gate.untilHeld()
        try await source.untilWritten(2)
        gate.open()
        #expect(await Reading(stream) == Reading(["one", "two"], error: "resultTooLarge"))
    }

    @Test("a reader of parts that are gone gets an error and no end")
    func lost() async throws {
        let source = PartSource("one", "two")
        let stream = self.a.stream(source)
        try await source.untilWritten(2)
        source.finish()
        await self.a.store.untilIdle()
        self.cluster.server.loseEverything()
        #expect(await Reading(stream) == Reading([], error: "streamLost"))
    }

    @Test("a leader that finds parts missing ends the stream for everybody")
    func broken() async throws {
        let source = PartSource("one")
        let stream = self.a.stream(source)
        try await source.untilWritten(1)
        self.cluster.server.loseChunks(of: self.cluster.key)
        source.give("two")
        source.finish()
        #expect(await Reading(stream) == Reading([], error: "streamLost"))
    }

    // MARK: - Room

    @Test("a writer waits while more than the window is not stored, whatever readers do")
    func window() async throws {
        let narrow = try StreamProcess("narrow", on: self.cluster, limits: StreamLimits(window: 10))
        let source = PartSource("0123456789", "0123456789", "0123456789")
        let gate = RequestGate()
        narrow.store.onRequest { $0 == .append ? .requestHeld(gate) : .none }
        let stream = narrow.stream(source)
        await gate.untilHeld()
        // The second waits for the first to be stored; the first found room.
        try await source.untilWritten(1)
        #expect(narrow.group.inFlight == 1)
        gate.open()
        try await source.untilWritten(3)
        source.finish()
        #expect(await Reading(stream) == Reading(Array(repeating: "0123456789", count: 3)))
    }

    // MARK: - Without a lease

    @Test("where the store cannot be asked a stream is made in this process, for all its callers")
    func alone() async throws {
        self.a.store.onRequest { _ in .requestLost(LeaseStoreError(.unavailable, "down")) }
        let source = PartSource("one", "two")
        let (first, second) = (self.a.stream(source), self.a.stream(source))
        let refused = self.a.stream(source, unavailable: .fail)
        // The request to lead is given up when its time is over.
        await self.cluster.clock.untilScheduled(1)
        self.cluster.clock.advance(by: .seconds(1))
        #expect(await Reading(refused) == Reading([], error: "unavailable"))
        source.finish()
        #expect(await Reading(first) == Reading(["one", "two"]))
        #expect(await Reading(second) == Reading(["one", "two"]))
        #expect(source.starts == 1)
    }

    @Test("a group that only observes runs each caller's own operation")
    func observed() async throws {
        let observing = try StreamProcess("a", on: self.cluster, .test { $0.mode = .observe })
        let (one, two) = (PartSource("one"), PartSource("two"))
        one.finish()
        two.finish()
        let (first, second) = (observing.stream(one), observing.stream(two))
        #expect(await Reading(first) == Reading(["one"]))
        #expect(await Reading(second) == Reading(["two"]))
    }

    @Test("bytes are counted that are written and that are read, and the lease tells how much was written")
    func counted() async throws {
        let observed = Observed()
        let process = try StreamProcess("a", on: self.cluster, .test { $0.observability = observed.observability })
        let source = PartSource("12345678", "12345678")
        let (first, second) = (process.stream(source), process.stream(source))
        try await source.untilWritten(2)
        // Two quotation marks each, and four bytes in front of what is written.
        await self.cluster.clock.untilScheduled(2)
        self.cluster.clock.advance(by: .milliseconds(1001))
        let inspect = InspectRequest(key: self.cluster.key)
        let lease = try await process.store.answer(to: inspect).get().lease
        #expect(lease?.note.progress?.message == "2 parts, 28 bytes")
        source.finish()
        #expect(await Reading(first) == Reading(["12345678", "12345678"]))
        #expect(await Reading(second) == Reading(["12345678", "12345678"]))
        await process.store.untilIdle()
        #expect(observed.count("stream_bytes_total", ["direction": "written"]) == 28)
        #expect(observed.count("stream_bytes_total", ["direction": "read"]) == 40)
    }

    // MARK: - Following, and misuse

    @Test("a follower gets the parts of a stream that others make, and never leads")
    func follow() async throws {
        #expect(await Reading(self.b.group.follow("key")) == Reading([], error: "there was no flight"))
        let source = PartSource("one")
        let here = self.a.stream(source)
        try await source.untilWritten(1)
        let there = self.b.group.follow("key")
        var follower = there.makeAsyncIterator()
        #expect(try await follower.next() == "one")
        source.give("two")
        source.finish()
        #expect(await Reading(here) == Reading(["one", "two"]))
        #expect(await Reading(there) == Reading(["two"]))
        try await self.expectNothingLeft(self.a, self.b)
    }

    @Test("a writer that is used after its end, and two tasks that read at once, are told")
    func misuse() async throws {
        let (writers, kept) = AsyncStream<StreamWriter<String, String>>.makeStream()
        let stream = self.a.group.stream("key") { writer in
            try await writer.write("one")
            kept.yield(writer)
        }
        #expect(await Reading(stream) == Reading(["one"]))
        var iterator = writers.makeAsyncIterator()
        let writer = try #require(await iterator.next())
        await #expect { try await writer.write("two") } throws: { Reading.name($0) == "streamMisused" }
        let source = PartSource()
        let other = self.b.stream(source)
        let waiting = Task { await Reading(other) }
        try await source.untilStarted()
        try await until("the second reader to be refused") { await Reading(other).error == "streamMisused" }
        source.finish()
        #expect(await waiting.value == Reading([]))
    }

    @Test("limits must be positive")
    func limits() throws {
        for limits in [StreamLimits(maximumBytes: 0), StreamLimits(window: 0)] {
            #expect { try StreamProcess("c", on: self.cluster, limits: limits) } throws: {
                ($0 as? DistributedGroupError)?.code == .invalidConfiguration
            }
        }
    }
}
