import HiredisClient
import NIOCore
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightRedis

/// Faults that others ran into (docs/failures.md) and that no other suite is about.
@Suite("Known faults", .usesServer, .timeLimit(.minutes(4)))
struct CatalogueTests {
    private static func key(_ text: String = "front") throws -> FlightKey {
        try FlightKey(group: "pages", bytes: Array(text.utf8))
    }

    private static func poll(_ store: RedisLeaseStore, _ token: LeaseToken) async throws -> PollReply {
        let request = PollRequest(key: try key(), token: token)
        return try await store.answer(to: request).get()
    }

    private static func complete(_ token: LeaseToken, _ payload: [UInt8]) throws -> CompleteRequest {
        CompleteRequest(key: try key(), token: token, outcome: .value(payload))
    }

    @Test("A7: a new flight leaves the outcome of the one before to followers that come late for it")
    func earlierOutcomeStays() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(10)) { one, two in
                let first = EnterRequest.make(try Self.key())
                _ = try await one.entered(first)
                _ = try await two.entered(.make(try Self.key()))
                _ = try await one.completed(try Self.complete(first.token, [1]))
                let second = EnterRequest.make(try Self.key())
                #expect(try await one.entered(second) == .lead(attempt: 0))
                #expect(try await Self.poll(two, first.token) == .done(.value([1])))
                _ = try await one.completed(try Self.complete(second.token, [2]))
                #expect(try await Self.poll(two, first.token) == .done(.value([1])))
            }
        }
    }

    @Test("A11: a process has two connections and one subscription, however many keys it leads and waits for")
    func connections() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(10)) { one, two in
                try await one.untilSubscribed()
                try await two.untilSubscribed()
                let here = try DistributedGroup<String, String>(
                    "pages",
                    store: one,
                    configuration: .init(lease: .init(duration: .seconds(60)))
                )
                let there = try DistributedGroup<String, String>(
                    "pages",
                    store: two,
                    configuration: .init(lease: .init(duration: .seconds(60)))
                )
                let gate = Gate()
                let calls = (0..<50).map { index in
                    Task {
                        await here.run("key \(index)") { _ in
                            await gate.wait()
                            return ""
                        }
                    }
                }
                await gate.untilArrived(50)
                let followers = (0..<50).map { index in Task { await there.run("key \(index)") { _ in "" } } }
                for index in 0..<50 { try await one.untilWaiters(1, group: "pages", key: "key \(index)") }

                let clients = try await redis.command("CLIENT", "LIST").split(separator: "\n").filter {
                    $0.contains("name=sf:")
                }
                #expect(clients.count == 4)
                #expect(clients.filter { $0.contains(" sub=1 ") }.count == 2)
                #expect(try await redis.command("PUBSUB", "CHANNELS").hasPrefix("*2\r\n"))
                gate.open()
                for call in calls + followers { _ = await call.value }
            }
        }
    }

    @Test("A22: a large result is not published, only that it is there", arguments: [60 << 10, 70 << 10])
    func largeResults(bytes: Int) async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(10)) { one, two in
                let (messages, continuation) = AsyncStream.makeStream(of: [UInt8].self)
                let inbox = one.client.makeSubscription(to: two.keyspace.inboxPrefix + two.inbox.description) { event in
                    if case .message(let message) = event { continuation.yield(message) }
                }
                inbox.start()
                try await inbox.subscribed(within: .seconds(20))
                let enter = EnterRequest.make(try Self.key())
                _ = try await one.entered(enter)
                _ = try await two.entered(.make(try Self.key()))
                let payload = Array(repeating: UInt8(7), count: bytes)
                _ = try await one.completed(try Self.complete(enter.token, payload))
                let message = try #require(await messages.first { _ in true })
                #expect(message.count < 66 << 10)
                #expect(message.contains(7) == (bytes <= 64 << 10))
                #expect(try await Self.poll(two, enter.token) == .done(.value(payload)))
                await inbox.shutdown()
            }
        }
    }

    @Test("B5: after a lease was lost the next one of the same key is renewed as ever")
    func nextLeaseIsRenewed() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(3)) { one, _ in
                let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(9), onLost: .cancel))
                let group = try DistributedGroup<String, String>("pages", store: one, configuration: configuration)
                let gate = Gate()
                let lost = Task {
                    await group.run("front") { _ in
                        await gate.wait()
                        return "lost"
                    }
                }
                await gate.untilArrived()
                try await redis.command("FLUSHALL")
                guard case .canceled(.leaseLost) = await lost.value else {
                    Issue.record("not lost")
                    return
                }
                gate.open()
                let value = try await group.value("front") { flight in
                    // Past the first lease, by Redis's account of the renewals.
                    try await until("four renewals") {
                        try await one.inspected(try Self.key()).lease?.note.renewals ?? 0 >= 4
                    }
                    return flight.isCurrent ? "renewed" : "lost again"
                }
                #expect(value == "renewed")
            }
        }
    }

    @Test("B6: leases are renewed on the connections' thread, which no operation can keep busy")
    func timersRunOnTheEventLoop() async throws {
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                let isInLoop = await withCheckedContinuation { continuation in
                    _ = store.clock.schedule(at: store.clock.now) {
                        continuation.resume(returning: store.client.eventLoop.inEventLoop)
                    }
                }
                #expect(isInLoop)
            }
        }
    }

    @Test("B25: a lease is as long as its leader wanted it, whatever those want who come later")
    func leaseLengthIsTheLeaders() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(10)) { one, two in
                let long = EnterRequest.make(try Self.key(), lease: .seconds(600))
                _ = try await one.entered(long)
                let reply = try await two.entered(.make(try Self.key(), lease: .milliseconds(100)))
                guard case .follow(long.token, let remaining) = reply else {
                    Issue.record("\(reply)")
                    return
                }
                #expect(remaining > .seconds(500))
                guard case .running(let left) = try await Self.poll(two, long.token) else {
                    Issue.record("it does not run")
                    return
                }
                #expect(left > .seconds(500))
            }
        }
    }

    @Test("C22: a flight with more waiters than a script can unpack at once ends like any other")
    func manyWaiters() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(20)) { one, two in
                let enter = EnterRequest.make(try Self.key())
                _ = try await one.entered(enter)
                _ = try await two.entered(EnterRequest.make(try Self.key()))
                let wait = one.keyspace.names(of: try Self.key()).wait
                for hundred in 0..<100 {
                    let members: [RedisArgument] = (0..<100).flatMap { index -> [RedisArgument] in
                        [.string("waiter \(hundred) \(index)"), ""]
                    }
                    _ = try await one.client.send(RedisCommand("HSET", arguments: [wait] + members))
                }
                #expect(try await one.completed(try Self.complete(enter.token, [1])) == .accepted(waiters: 10_001))
                #expect(try await redis.command("EXISTS", wait.description) == ":0\r\n")
            }
        }
    }

    @Test("E4: callers that are canceled, in whatever moment, cost no connection")
    func cancellationKeepsConnections() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(10)) { one, two in
                try await one.untilSubscribed()
                try await two.untilSubscribed()
                let before = try await Self.clientIDs(redis)
                let groups = try [one, two].map {
                    try DistributedGroup<String, String>(
                        "pages",
                        store: $0,
                        configuration: .init(lease: .init(duration: .seconds(60)))
                    )
                }
                await withTaskGroup(of: Void.self) { tasks in
                    for index in 0..<300 {
                        let call = Task { await groups[index % 2].run("key \(index % 7)") { _ in "value" } }
                        tasks.addTask {
                            for _ in 0..<(index % 30) { await Task.yield() }
                            call.cancel()
                            _ = await call.value
                        }
                    }
                }
                #expect(try await Self.clientIDs(redis) == before)
            }
        }
    }

    @Test("E8: an announcement of a later version is ignored, and the value comes all the same")
    func laterAnnouncement() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                try await two.untilSubscribed()
                let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)))
                let here = try DistributedGroup<String, String>("pages", store: one, configuration: configuration)
                let there = try DistributedGroup<String, String>("pages", store: two, configuration: configuration)
                let gate = Gate()
                async let led = here.value("front") { _ in
                    await gate.wait()
                    return "value"
                }
                await gate.untilArrived()
                async let followed = there.value("front") { _ in "another" }
                try await one.untilWaiters(1, group: "pages", key: "front")
                let token = try #require(try await one.inspected(try Self.key()).lease?.token)
                let channel = two.keyspace.inboxPrefix + two.inbox.description
                for message in [
                    "3vi\(token)pages:front\nnot for us", "2", "", "2zz\(token)pages:front\n", "2vi\(token)",
                ] {
                    #expect(try await redis.command("PUBLISH", channel, message) == ":1\r\n")
                }
                gate.open()
                let values = try await [led, followed]
                #expect(values == ["value", "value"])
            }
        }
    }

    private static func clientIDs(_ redis: PrivateRedis) async throws -> [String] {
        try await redis.command("CLIENT", "LIST").split(separator: "\n").filter { $0.contains("name=sf:") }
            .compactMap { line in
                line.split(separator: " ").first { $0.contains("id=") }.map { String($0.drop { $0 != "i" }) }
            }
            .sorted()
    }
}
