import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("singleflight leases and show", .usesServer, .timeLimit(.minutes(4)))
struct ShowTests {
    private static let key = "front page\n{👩‍👧}"

    @Test("a flight is listed while it is led, in every format", arguments: ["table", "json", "ndjson"])
    func list(_ format: String) async throws {
        try await withWorker { redis, store in
            let flight = try await HeldFlight(store, key: Self.key)
            let run = try await Tool.run("leases", "--output", format, "--url", redis.url)
            #expect(run.status == 0)
            #expect(run.output.contains(#"front page\n{👩‍👧}"#))
            #expect(run.output.contains("worker-1"))
            #expect(run.messages.isEmpty)
            await flight.complete()
        }
    }

    @Test("show tells the lease of a key, who waits, and what is retained of it")
    func show() async throws {
        try await withWorker { redis, store in
            let flight = try await HeldFlight(store, key: Self.key)
            let led = try await Tool.run("show", Self.key, "--url", redis.url)
            #expect(led.status == 0)
            #expect(led.output.contains("leader      worker-1"))
            await flight.complete()

            let run = try await Tool.run("show", Self.key, "--group", "pages", "--output", "json", "--url", redis.url)
            #expect(run.status == 0)
            let flights = try #require(
                try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [[String: Any]]
            )
            let outcomes = try #require(flights.first?["outcomes"] as? [[String: Any]])
            #expect(flights.first?["lease"] == nil)
            #expect(outcomes.first?["kind"] as? String == "value")
            #expect(outcomes.first?["leader"] as? String == "worker-1")
            #expect(outcomes.first?["reused"] as? Bool == true)
        }
    }

    @Test("what is reused is told with the time for which it is")
    func reuse() async throws {
        try await withWorker { redis, store in
            let results = DistributedGroupConfiguration.Results(retention: .seconds(3_600), reuse: .seconds(600))
            let group = try DistributedGroup<String, String>(
                "pages",
                store: store,
                configuration: .init(results: results)
            )
            _ = await group.run(Self.key) { _ in "result" }
            let run = try await Tool.run("show", Self.key, "--url", redis.url)
            let line = try #require(run.output.split(separator: "\n").first { $0.hasPrefix("reused") })
            let times = line.split(separator: "for ").dropFirst()
            #expect(times.count == 1)
            #expect(times.first?.hasPrefix("9 min ") == true || times.first?.hasPrefix("10 min") == true, "\(line)")
        }
    }

    @Test("show --payload prints the retained result and nothing else")
    func payload() async throws {
        try await withWorker { redis, store in
            try await HeldFlight(store, key: Self.key, result: "größe").complete()
            let run = try await Tool.run("show", Self.key, "--payload", "--url", redis.url)
            #expect(run.status == 0)
            #expect(run.output == "\"größe\"")
        }
    }

    @Test("a key that nobody knows is status 2", arguments: [["--payload"], []])
    func unknown(_ options: [String]) async throws {
        try await withWorker { redis, _ in
            let run = try await Tool.run(["show", Self.key, "--url", redis.url] + options)
            #expect(run.status == 2)
            #expect(run.output.isEmpty)
            #expect(run.messages.split(separator: "\n").count == 1)
        }
    }

    @Test("a long list on a terminal shows its progress and clears it away")
    func progress() async throws {
        try await withWorker { redis, store in
            let flight = try await HeldFlight(store, key: "front")
            let pty = try Pty(["leases", "--url", redis.url])
            #expect(await pty.exit() == 0)
            #expect(pty.output.contains("leases found"))
            #expect(pty.output.contains("\r\u{1B}[2K\u{1B}[1mKEY"))
            await flight.complete()
        }
    }
}
