import PrivateRedis
import SingleflightLease
import TestSupport
import Testing

@testable import SingleflightRedis

private struct OperationFailed: Error, CustomStringConvertible {
    var description: String { "the operation failed" }
}

@Suite("Events", .usesServer, .timeLimit(.minutes(4)))
struct EventTests {
    private func key(_ text: String = "front") throws -> FlightKey {
        try FlightKey(group: "pages", bytes: Array(text.utf8))
    }

    @Test("a flight is told from its beginning to its end, and who joined and left it")
    func life() async throws {
        try await PrivateRedis.with { redis in
            try await withEvents(redis) { one, events in
                try await RedisLeaseStore.withConnection(to: redis.url, configuration: one.configuration) { two in
                    let (lead, follow) = (EnterRequest.make(try key()), EnterRequest.make(try key()))
                    _ = try await one.entered(lead)
                    _ = try await two.entered(follow)
                    _ = try await two.entered(follow)
                    _ = try await two.left(lead.key, lead.token)
                    let outcome = StoredOutcome.value(Array("value".utf8))
                    let complete = CompleteRequest(
                        key: lead.key,
                        token: lead.token,
                        outcome: outcome,
                        reuse: .zero
                    )
                    _ = try await one.completed(complete)
                    _ = try await one.completed(complete)
                    _ = try await two.entered(follow)

                    let acquired = try #require(await events.next())
                    #expect(acquired.change == .acquired)
                    #expect(acquired.token == lead.token)
                    #expect((acquired.group, acquired.key) == ("pages", "front"))
                    #expect(acquired.note.label == "one")
                    #expect(acquired.note.progress == FlightProgress(fraction: 0.4, message: "reading"))
                    #expect(acquired.time > .seconds(1_600_000_000))
                    let joined = try #require(await events.next())
                    // Once, however often the request was repeated.
                    #expect(joined.change == .joined(two.inbox))
                    #expect(joined.waiters == 1)
                    #expect(await events.next()?.change == .left(two.inbox))
                    #expect(await events.next()?.change == .completed)
                    let next = try #require(await events.next())
                    #expect(next.change == .acquired)
                    #expect(next.token == follow.token)
                }
            }
        }
    }

    @Test("a store that was not told to publish is silent")
    func silence() async throws {
        try await PrivateRedis.with { redis in
            try await withEvents(redis) { loud, events in
                try await withEvents(redis, publishes: false) { silent, _ in
                    _ = try await silent.entered(.make(try key("silent")))
                    // By native command, and now by script.
                    _ = try await silent.entered(.make(try key("silent")))
                    _ = try await loud.entered(.make(try key("loud")))
                    #expect(await events.next()?.key == "loud")
                }
            }
        }
    }

    @Test(
        "a key is told as it is, whatever it holds",
        arguments: ["a b", "a\nb", "{a}%", "größe 👩‍👧", "~a", "a:b", "", String(repeating: "long ", count: 100)]
    )
    func keys(_ text: String) async throws {
        try await PrivateRedis.with { redis in
            try await withEvents(redis) { store, events in
                _ = try await store.entered(.make(try key(text)))
                #expect(await events.next()?.key == text)
            }
        }
    }

    @Test("a failure is told with its message")
    func failure() async throws {
        try await PrivateRedis.with { redis in
            try await withEvents(redis) { store, events in
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: store,
                    configuration: .init(lease: .init(duration: .seconds(60)))
                )
                _ = await group.run("front") { _ in throw OperationFailed() }
                #expect(await events.next()?.change == .acquired)
                guard case .failed(let failure) = await events.next()?.change else {
                    Issue.record("no failure was told")
                    return
                }
                #expect(failure?.message == "the operation failed")
                #expect(failure?.type.hasSuffix("OperationFailed") == true)
            }
        }
    }

    @Test("a flight that nobody waits for any more is told as released")
    func release() async throws {
        try await PrivateRedis.with { redis in
            try await withEvents(redis) { store, events in
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: store,
                    configuration: .init(lease: .init(duration: .seconds(60)))
                )
                let gate = Gate()
                let caller = Task {
                    await group.run("front") { _ in
                        await gate.wait()
                        return ""
                    }
                }
                await gate.untilArrived()
                caller.cancel()
                #expect(await events.next()?.change == .acquired)
                #expect(await events.next()?.change == .released)
                gate.open()
            }
        }
    }

    @Test("a revocation is told with who did it and why")
    func revocation() async throws {
        try await PrivateRedis.with { redis in
            try await withEvents(redis) { store, events in
                _ = try await store.entered(.make(try key()))
                let request = RevokeRequest(
                    key: try key(),
                    token: nil,
                    by: "ada",
                    reason: "stuck"
                )
                _ = try await store.revoked(request)
                _ = await events.next()
                #expect(await events.next()?.change == .canceled(.revoked(by: "ada", reason: "stuck")))
            }
        }
    }

    @Test(
        "a lost leader is told as an expiry or a takeover, by the group's policy",
        arguments: [LeaderLossPolicy.cancel, .takeOver(attempts: 1)]
    )
    func loss(_ policy: LeaderLossPolicy) async throws {
        try await PrivateRedis.with { redis in
            try await withEvents(redis) { store, events in
                let lost = EnterRequest.make(try key(), lease: .milliseconds(100), leaderLoss: policy)
                _ = try await store.entered(lost)
                // The end of a lease is no event: nobody has noticed it yet.
                try await until("the lease's end") {
                    try await store.inspected(lost.key).lease?.isExpired != false
                }
                let next = EnterRequest.make(try key(), leaderLoss: policy)
                _ = try await store.entered(next)

                _ = await events.next()
                if policy == .cancel {
                    let expired = try #require(await events.next())
                    #expect(expired.change == .canceled(.leaseExpired))
                    #expect(expired.token == lost.token)
                    #expect(await events.next()?.change == .acquired)
                } else {
                    let takenOver = try #require(await events.next())
                    #expect(takenOver.change == .takenOver(from: lost.token))
                    #expect(takenOver.token == next.token)
                    #expect(takenOver.attempt == 1)
                }
            }
        }
    }

    @Test("a lost connection is told as a gap, and events go on after it")
    func gap() async throws {
        try await PrivateRedis.with { redis in
            try await withEvents(redis) { store, events in
                try await redis.command("CLIENT", "KILL", "TYPE", "pubsub")
                #expect(await events.nextUpdate() == .interrupted)
                #expect(await events.nextUpdate() == .resumed)
                _ = try await store.entered(.make(try key()))
                #expect(await events.next()?.change == .acquired)
            }
        }
    }

    @Test(
        "what this version does not understand is no event",
        arguments: [
            "", "1a", "2a", "1a0123456789abcdef0123456789abcdef", "2z0123456789abcdef0123456789abcdef 1 0 0 g:k\n{}\n",
            "1a0123456789abcdef0123456789abcdef 1 0 0 g:k\n{}\n",
        ]
    )
    func garbage(_ text: String) {
        #expect(LeaseEvent(bytes: Array(text.utf8)) == nil)
    }

    // A time before 1970 and a start in the far future had a difference that no number holds: whoever watched was
    // killed.
    @Test(
        "times that no clock shows make an event of no age, or none, and no trap",
        arguments: [("0", "0"), ("1", "9223372036854775807"), ("9223372036854775807", "-9223372036854775808")]
    )
    func extremeTimes(time: String, start: String) {
        func event(at time: String) -> LeaseEvent? {
            let note = #"{"label":"l","startedAt":\#(start),"renewals":0}"#
            return LeaseEvent(bytes: Array("2a0123456789abcdef0123456789abcdef \(time) 0 0 g:k\n\(note)\n".utf8))
        }
        #expect(event(at: time)?.note.age == .zero)
        #expect(event(at: "-9223372036854775808") == nil)
    }

    @Test("a note that a later version writes differently does not hide the event")
    func laterNote() throws {
        let message = "2a0123456789abcdef0123456789abcdef 1700000000000 2 3 g:k\n[]\n"
        let event = try #require(LeaseEvent(bytes: Array(message.utf8)))
        #expect((event.group, event.key, event.attempt, event.waiters) == ("g", "k", 2, 3))
        #expect(event.time == .seconds(1_700_000_000))
    }
}
