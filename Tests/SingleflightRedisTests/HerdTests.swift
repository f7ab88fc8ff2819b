import Foundation
import HiredisClient
import PrivateRedis
import SingleflightRedis
import Synchronization
import TestSupport
import Testing

/// Two hundred processes, as far as Redis can tell, want one key whose leader is dead.
@Suite("A herd", .keepsBusy, .serialized, .timeLimit(.minutes(5)))
struct HerdTests {
    private static let processes = 200

    /// What happened in all of them together.
    private final class Log: Sendable {
        private let state = Mutex<(runs: Int, answers: [String: Int])>((0, [:]))

        func ran() {
            self.state.withLock { $0.runs += 1 }
        }

        func told(_ answer: Answer) {
            self.state.withLock { $0.answers["\(answer)", default: 0] += 1 }
        }

        var runs: Int { self.state.withLock { $0.runs } }
        /// How many were told what.
        var answers: [String: Int] { self.state.withLock { $0.answers } }
    }

    @Test(
        "whose leader was lost runs its operation at most once more, and everybody is told the same",
        arguments: [LeaderLossPolicy.takeOver(attempts: 1), .cancel]
    )
    func loss(policy: LeaderLossPolicy) async throws {
        let configuration = PrivateRedis.Configuration(
            users: [ServerStage.administrator],
            extraLines: ["slowlog-log-slower-than 50", "slowlog-max-len 2000"]
        )
        try await PrivateRedis.with(configuration) { redis in
            try await ServerStage.with(redis, stay: .brief) { stage in
                try await Self.withStores(redis.url) { stores in
                    let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                    // Long enough for two hundred processes on one busy machine to register before it ends.
                    let granted = try await stores[0].entered(.make(key, lease: .seconds(6), leaderLoss: policy))
                    #expect(granted == .lead(attempt: 0))
                    let log = Log()
                    try await withThrowingTaskGroup(of: Void.self) { tasks in
                        for store in stores.dropFirst() {
                            let group = try Self.group(store, policy)
                            tasks.addTask {
                                let outcome = await group.run("front") { _ in
                                    log.ran()
                                    return "value"
                                }
                                log.told(Answer(outcome))
                            }
                        }
                        try await stores[0].untilWaiters(Self.processes - 1, group: "pages", key: "front")
                        try await tasks.waitForAll()
                    }
                    switch policy {
                    case .takeOver:
                        #expect(log.runs == 1)
                        #expect(log.answers == ["the value": Self.processes - 1])
                    case .cancel:
                        #expect(log.runs == 0)
                        #expect(log.answers == ["canceled: the leader's lease expired": Self.processes - 1])
                    }
                    try await Self.report(stage, policy)
                }
            }
        }
    }

    /// How long the server was blocked by a single script, for docs/reliability.md.
    private static func report(_ stage: ServerStage, _ policy: LeaderLossPolicy) async throws {
        guard ProcessInfo.processInfo.environment["SINGLEFLIGHT_SERVER_TABLE"] != nil else { return }
        let entries = try await stage.ask("SLOWLOG GET 1000").array ?? []
        let scripts = entries.compactMap { entry -> Int64? in
            guard let fields = entry.array, fields.count > 3, fields[3].array?.first?.string?.hasPrefix("EVAL") == true
            else { return nil }
            return fields[2].integer
        }
        print(
            "herd of \(self.processes), \(policy): the longest script blocked the server for \(scripts.max() ?? 0) us"
        )
    }

    private static func group(
        _ store: RedisLeaseStore,
        _ policy: LeaderLossPolicy
    ) throws -> DistributedGroup<String, String> {
        let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(30), leaderLoss: policy))
        return try DistributedGroup("pages", store: store, configuration: configuration)
    }

    private static func withStores(_ url: String, _ body: ([RedisLeaseStore]) async throws -> Void) async throws {
        let stores = try (0..<self.processes).map { index in
            try RedisLeaseStore(
                url: url,
                configuration: .init(namespace: "test", label: "process \(index)", commandTimeout: .seconds(10))
            )
        }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for store in stores { tasks.addTask { try? await store.run() } }
            for store in stores { try await store.untilSubscribed() }
            try await body(stores)
            tasks.cancelAll()
        }
    }
}
