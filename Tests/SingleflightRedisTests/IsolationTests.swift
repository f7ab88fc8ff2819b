import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("A connection inside of an actor", .usesServer, .timeLimit(.minutes(4)))
struct IsolationTests {
    @Test("the body uses the actor's state, and returns what is not Sendable")
    func actor() async throws {
        try await PrivateRedis.with { redis in
            let archive = Archive()
            try await archive.fill(from: redis.url)
            #expect(await archive.found == "value")
        }
    }

    @Test("a class on the main actor does, too")
    func mainActor() async throws {
        try await PrivateRedis.with { redis in
            let screen = Screen()
            try await screen.load(from: redis.url)
            #expect(await screen.text == "value")
        }
    }
}

/// What is not `Sendable`.
private final class Page {
    var text = ""
}

private actor Archive {
    private var pages: [Page] = []

    var found: String? { self.pages.last?.text }

    func fill(from url: String) async throws {
        let page = try await RedisLeaseStore.withConnection(to: url) { store in
            self.assertIsolated()
            let flights = try DistributedGroup<String, String>("pages", store: store)
            let page = Page()
            page.text = try await flights.value("front") { _ in "value" }
            self.pages.append(page)
            return page
        }
        #expect(page === self.pages.last)
    }
}

@MainActor
private final class Screen {
    private(set) var text = ""

    func load(from url: String) async throws {
        let page = try await RedisLeaseStore.withConnection(to: url) { store in
            let flights = try DistributedGroup<String, String>("pages", store: store)
            self.text = try await flights.value("front") { _ in "value" }
            return Page()
        }
        #expect(page.text.isEmpty)
    }
}
