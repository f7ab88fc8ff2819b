import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// The protocol's page, tried: a client that was written from it alone and this one understand each other.
@Suite("A client written from the protocol's page", .usesServer, .timeLimit(.minutes(4)))
struct PageClientTests {
    private func withBoth(
        _ body: @Sendable (PageClient, RedisLeaseStore, DistributedGroup<String, String>) async throws -> Void
    ) async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(10)) { store, _ in
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: store,
                    configuration: .init(lease: .init(duration: .seconds(30)), unavailable: .fail)
                )
                try await store.untilSubscribed()
                try await PageClient.with(redis, namespace: "test", group: "pages", key: "front-page.html") { page in
                    try await body(page, store, group)
                }
            }
        }
    }

    @Test("leads, and a group follows it and gets its value")
    func leads() async throws {
        try await self.withBoth { page, store, group in
            let token = PageClient.randomID()
            #expect(try await page.enter(token) == .leads)
            let key = try FlightKey(group: "pages", bytes: Array("front-page.html".utf8))
            let lease = try #require(try await store.inspected(key).lease)
            #expect(lease.token.description == token && lease.inbox.description == page.inbox)
            #expect(lease.note.label == "page" && lease.duration == .seconds(30))
            async let followed = group.run("front-page.html") { _ in "another" }
            try await until("a waiter") { try await page.waiters() > 0 }
            #expect(try await page.complete(token, json: #""from the page""#) == 1)
            guard case .complete(let completion) = await followed else {
                Issue.record("not completed")
                return
            }
            #expect(try completion.result.get() == "from the page")
            #expect(completion.role == .follower && completion.leader == "page")
            #expect(completion.token?.description == token)
        }
    }

    @Test("follows a group, hears its value, and finds it stored")
    func follows() async throws {
        try await self.withBoth { page, _, group in
            let gate = Gate()
            async let led = group.run("front-page.html") { _ in
                await gate.wait()
                return "from the group"
            }
            await gate.untilArrived()
            guard case .follows(let token) = try await page.enter(PageClient.randomID()) else {
                Issue.record("led beside the group")
                return
            }
            gate.open()
            #expect(await page.announced(token) == #""from the group""#)
            #expect(try await page.stored(token) == #""from the group""#)
            guard case .complete(let completion) = await led else {
                Issue.record("not completed")
                return
            }
            #expect(completion.isShared && completion.token?.description == token)
        }
    }

    @Test("is refused when the lease is not its own, and the leader is not disturbed")
    func refused() async throws {
        try await self.withBoth { page, _, group in
            let gate = Gate()
            async let led = group.value("front-page.html") { _ in
                await gate.wait()
                return "from the group"
            }
            await gate.untilArrived()
            let refused = try await page.complete(PageClient.randomID(), json: "1")
            #expect(refused == nil)
            gate.open()
            let value = try await led
            #expect(value == "from the group")
        }
    }
}
