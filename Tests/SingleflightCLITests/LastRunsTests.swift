import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@testable import SingleflightCLI

@Suite("singleflight last", .usesServer, .timeLimit(.minutes(4)))
struct LastRunsTests {
    private static func run(_ number: Int, status: Int32 = 0, reason: String? = nil) -> RunRecord {
        RunRecord(
            label: "host-\(number):1",
            startedAt: 1_700_000_000_000 + Int64(number) * 1_000,
            milliseconds: 1_500,
            status: reason == nil ? status : nil,
            reason: reason
        )
    }

    @Test("runs are kept with the latest first, twenty of them, each with those who came while it ran")
    func history() async throws {
        try await withWorker { redis, store in
            let key = try FlightKey(group: "exec", bytes: Array("nightly {report}\n".utf8))
            #expect(try await store.lastRuns(of: key) == LastRuns())
            for number in 1...25 {
                for _ in 0..<(number % 3) { try await store.recordSkip(of: key) }
                try await store.record(Self.run(number), of: key)
            }
            try await store.recordSkip(of: key)
            let last = try await store.lastRuns(of: key)
            #expect(last.runs.map(\.record) == (6...25).reversed().map { Self.run($0) })
            #expect(last.runs.map(\.skips) == (6...25).reversed().map { $0 % 3 })
            #expect(last.skips == 1)
            // No key is left for good.
            let life = try await redis.command(
                "EVAL",
                "return redis.call('PTTL', redis.call('KEYS', '*:runs:*')[1])",
                "0"
            )
            #expect(Int(life.dropFirst().prefix { $0.isNumber }) ?? 0 > 30 * 86_400_000)
        }
    }

    @Test("last prints who, when, for how long, the status and the skips, in every format")
    func printing() async throws {
        try await withWorker { redis, store in
            let key = try FlightKey(group: "exec", bytes: Array("nightly".utf8))
            try await store.record(Self.run(1), of: key)
            try await store.recordSkip(of: key)
            try await store.record(Self.run(2, reason: "the lease was lost"), of: key)
            try await store.record(Self.run(3, status: 7), of: key)
            let table = try await Tool.run("last", "nightly", "--url", redis.url, environment: ["TZ": "UTC"])
            #expect(table.status == 0)
            #expect(
                table.output == """
                    WHEN                  TOOK  STATUS              SKIPS  LEADER
                    2023-11-14 22:13:23  1.5 s  7                       0  host-3:1
                    2023-11-14 22:13:22  1.5 s  the lease was lost      1  host-2:1
                    2023-11-14 22:13:21  1.5 s  0                       0  host-1:1

                    """
            )
            let json = try await Tool.run("last", "nightly", "--output", "json", "--url", redis.url)
            let history = try JSONDecoder().decode(RunHistory.self, from: Data(json.output.utf8))
            #expect(history.runs.map(\.status) == [7, nil, 0])
            #expect(history.runs.map(\.tookMilliseconds) == [1_500, 1_500, 1_500])
            let lines = try await Tool.run("last", "nightly", "--output", "ndjson", "--url", redis.url)
            #expect(lines.output.split(separator: "\n").count == 3)
            #expect(try await Tool.run("last", "other", "--url", redis.url).status == 2)
        }
    }

    @Test("what is not understood is left out, and harms nothing")
    func foreign() {
        let text = "3\n1 {\"label\":\"h\",\"milliseconds\":5,\"startedAt\":7,\"status\":0,\"more\":true}\nx\n2 {}\n"
        let last = LastRuns(text)
        #expect(last.skips == 3)
        #expect(last.runs.map(\.skips) == [1])
        #expect(LastRuns("").runs.isEmpty && LastRuns("\n\n").skips == 0)
    }
}
