import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@testable import SingleflightCLI

@Suite("Which leases are listed", .usesServer, .timeLimit(.minutes(4)))
struct SelectionTests {
    private static func keys(_ redis: PrivateRedis, _ arguments: String...) async throws -> [String] {
        let run = try await Tool.run(["leases", "--output", "json", "--url", redis.url] + arguments)
        #expect(run.status == 0, "\(run.messages)")
        return try JSONDecoder().decode([LeaseSummary].self, from: Data(run.output.utf8))
            .map { [$0.namespace, $0.group, $0.key].compactMap { $0 }.joined(separator: "/") }.sorted()
    }

    @Test("--group, --older-than and the pattern leave out what is not asked for")
    func choosing() async throws {
        try await withWorker { redis, store in
            let flights = [try await HeldFlight(store, key: "a"), try await HeldFlight(store, key: "b")]
            #expect(try await Self.keys(redis) == ["pages/a", "pages/b"])
            #expect(try await Self.keys(redis, "a") == ["pages/a"])
            #expect(try await Self.keys(redis, "--group", "pages") == ["pages/a", "pages/b"])
            #expect(try await Self.keys(redis, "--group", "others") == [])
            #expect(try await Self.keys(redis, "--older-than", "1h") == [])
            #expect(try await Self.keys(redis, "--older-than", "0s") == ["pages/a", "pages/b"])
            for flight in flights { await flight.complete() }
        }
    }

    @Test("--all-namespaces tells the namespace of each, and namespaces counts them")
    func namespaces() async throws {
        try await withWorker { redis, store in
            let other = RedisLeaseStoreConfiguration(namespace: "shop-2", label: "worker-2")
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: other) { second in
                let flights = [try await HeldFlight(store, key: "a"), try await HeldFlight(second, key: "a")]
                #expect(try await Self.keys(redis) == ["pages/a"])
                #expect(try await Self.keys(redis, "--all-namespaces") == ["default/pages/a", "shop-2/pages/a"])
                let table = try await Tool.run("leases", "-A", "--url", redis.url)
                #expect(table.output.hasPrefix("NAMESPACE  KEY  GROUP"))
                let run = try await Tool.run("namespaces", "--output", "ndjson", "--url", redis.url)
                let lines = run.output.split(separator: "\n")
                #expect(lines.count == 2)
                #expect(lines.last?.contains(#""leases":1,"namespace":"shop-2""#) == true)
                for flight in flights { await flight.complete() }
            }
        }
    }

    @Test("top shows flights of all namespaces, opens one and revokes it in the namespace that it is of")
    func revoking() async throws {
        try await PrivateRedis.with { redis in
            let configuration = RedisLeaseStoreConfiguration(namespace: "shop", label: "worker-1")
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: configuration) { store in
                try await Self.revoke(in: redis, store)
            }
        }
    }

    private static func revoke(in redis: PrivateRedis, _ store: RedisLeaseStore) async throws {
        let group = try DistributedGroup<String, String>("pages", store: store)
        let operation = Gate("the operation that is revoked")
        let caller = Task {
            await group.run("front") { _ in
                try await operation.waitUnlessCanceled()
                return ""
            }
        }
        let pty = try Pty(["top", "-A", "--interval", "50ms", "--url", redis.url], columns: 120)
        try await pty.until("front", "shop")
        pty.type("\u{1B}[B\r")
        try await pty.until("leader      worker-1", "Escape back")
        pty.type("r")
        try await pty.until("End 'front' of group pages, led by worker-1")
        pty.type("y")
        try await pty.until("ended 'front': told its leader worker-1")
        let outcome = await caller.value
        guard case .canceled = outcome else {
            Issue.record("the flight was not revoked but came to \(outcome)")
            return
        }
        pty.type("q")
        let status = await pty.exit()
        #expect(status == 0)
    }

    @Test("an operator's screens under LC_ALL=C are ASCII", arguments: [40, 140])
    func plain(_ columns: Int) async throws {
        try await withWorker { redis, store in
            let flight = try await HeldFlight(store, key: "front")
            let pty = try Pty(
                ["top", "--interval", "50ms", "--url", redis.url],
                columns: UInt16(columns),
                rows: 10,
                environment: ["LC_ALL": "C"]
            )
            try await pty.until("1 lease | 0 waiters", "front", "wake-up ")
            pty.type("q")
            #expect(await pty.exit() == 0)
            #expect(pty.output.allSatisfy { $0.isASCII })
            await flight.complete()
        }
    }
}
