import Logging
import MetricsTestKit
import ObservabilityTestSupport
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightRedis

@Suite("What a store measures and logs", .usesServer, .timeLimit(.minutes(4)))
struct StoreObservabilityTests {
    private let metrics = TestMetrics()
    private let log = LogRecord()

    private func count(_ name: String, _ labels: [(String, String)] = []) -> Int64 {
        self.metrics.counterTotal(label: "singleflight_" + name, dimensions: labels)
    }

    private func withStore<Result: Sendable>(
        _ url: String,
        commandTimeout: Duration = .seconds(10),
        _ body: (RedisLeaseStore) async throws -> Result
    ) async throws -> Result {
        try await RedisLeaseStore.withConnection(
            to: url,
            configuration: .init(namespace: "test", commandTimeout: commandTimeout, metrics: self.metrics),
            logger: self.log.logger,
            body
        )
    }

    @Test("both connections count as reconnected after the server was restarted, and as lost before")
    func reconnects() async throws {
        try await PrivateRedis.with { redis in
            try await withStore(redis.url) { store in
                try await store.untilSubscribed()
                #expect(count("reconnects_total", [("connection", "commands")]) == 0)
                await redis.kill()
                try await redis.restart()
                for connection in ["commands", "inbox"] {
                    try await until("a reconnection") { count("reconnects_total", [("connection", connection)]) > 0 }
                    #expect(
                        count("connection_failures_total", [("connection", connection), ("reason", "lost")]) == 1
                    )
                }
            }
        }
    }

    @Test("an announcement that nobody waits for any more counts as late")
    func ignoredAnnouncement() async throws {
        try await PrivateRedis.with { redis in
            try await withStore(redis.url) { store in
                try await store.untilSubscribed()
                let token = String(repeating: "a", count: 32)
                _ = try await redis.command("PUBLISH", "sf2:in:test:0:\(store.inbox)", "2vh\(token)pages:front\n")
                try await until("the announcement") { count("announcements_ignored_total") > 0 }
                #expect(count("announcements_ignored_total") == 1)
            }
        }
    }

    @Test("no line holds a password, and each is as docs/observability.md lists it")
    func secrets() async throws {
        let password = "hunter2-\(UInt64.random(in: .min ... .max))"
        let wrong = "wrong-\(UInt64.random(in: .min ... .max))"
        let configuration = PrivateRedis.Configuration(password: password)
        try await PrivateRedis.with(configuration) { redis in
            // Once the server has died a call goes on without it when this time is over.
            try await withStore(redis.url, commandTimeout: .seconds(3)) { store in
                try await store.untilSubscribed()
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: store,
                    configuration: .init(
                        lease: .init(duration: .seconds(60)),
                        observability: .init(logger: self.log.logger)
                    )
                )
                _ = try await group.value("front") { _ in "value" }
                await redis.kill()
                _ = await group.run("front") { _ in "alone" }
            }
            try await redis.restart()
            let refused = redis.url.replacing(password, with: wrong)
            await #expect(throws: LeaseStoreError.self) { try await withStore(refused) { _ in } }
        }
        let lines = self.log.lines
        let documented = try ObservabilityDocument.logLines()
        for message in ["connected to redis", "connection to redis lost", "redis cannot be used", "call ended"] {
            #expect(lines.contains { $0.message == message }, "\(message)")
        }
        for line in lines {
            let text = "\(line.message) \(line.metadata)"
            #expect(!text.contains(password) && !text.contains(wrong), "\(text)")
            #expect(documented[line.message] == line.level, "\(text)")
            #expect(line.metadata.keys.allSatisfy { $0.hasPrefix("sf_") }, "\(text)")
        }
    }
}
