import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// The scripts against the model that simulations run on: the same requests in the same order must be answered, and
/// announced, in the same way.
@Suite("The scripts and the model", .keepsBusy, .timeLimit(.minutes(30)))
struct ModelTests {
    private static let environment = ProcessInfo.processInfo.environment
    /// `SINGLEFLIGHT_MODEL_OPS` makes a run longer, or shorter.
    private static let requests = environment["SINGLEFLIGHT_MODEL_OPS"].flatMap { Int($0) } ?? 40_000
    /// `SINGLEFLIGHT_MODEL_SEED` repeats one sequence.
    private static let seed = environment["SINGLEFLIGHT_MODEL_SEED"].flatMap { UInt64($0) }

    /// In a sequence each request waits for the answer to the one before it. Several go on at a time, which is what
    /// makes many requests cheap: they travel, and are answered, in batches.
    private static let requestsInSequence = 2_000
    private static let sequencesAtATime = 20

    @Test("agree on random sequences of requests, and no key is left without a time to live")
    func agree() async throws {
        let sequences = Self.seed == nil ? max(1, Self.requests / Self.requestsInSequence) : 1
        let first = Self.seed ?? .random(in: 0 ... .max)
        let length = min(Self.requests, Self.requestsInSequence)
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(10)) { one, two in
                try await withThrowingTaskGroup(of: String?.self) { running in
                    for index in 0..<sequences {
                        if index >= Self.sequencesAtATime, let difference = try await running.next() ?? nil {
                            Issue.record("\(difference)")
                        }
                        running.addTask {
                            let seed = first &+ UInt64(index)
                            return try await Self.difference(seed: seed, length: length, stores: [one, two])
                        }
                    }
                    for try await case let difference? in running { Issue.record("\(difference)") }
                }
            }
            #expect(try await redis.command("DBSIZE") != ":0\r\n")
            #expect(try await redis.command("EVAL", Self.namesWithoutTimeToLive, "0") == "*0\r\n")
        }
    }

    /// One command instead of one for each of the many outcomes that are still stored.
    private static let namesWithoutTimeToLive = """
        local names = {}
        for _, name in ipairs(redis.call('KEYS', 'sf2:*')) do
            if redis.call('PTTL', name) == -1 then names[#names + 1] = name end
        end
        return names
        """

    /// Plays one sequence: where the two differ, if they do.
    private static func difference(seed: UInt64, length: Int, stores: [RedisLeaseStore]) async throws -> String? {
        let comparison = try await ModelComparison(stores: stores, keyCount: 4, seed: seed)
        for step in 0..<length {
            if let difference = try await comparison.step() {
                return "SINGLEFLIGHT_MODEL_SEED=\(seed), step \(step): \(difference)"
            }
        }
        return try await comparison.compareAnnouncements().map { "SINGLEFLIGHT_MODEL_SEED=\(seed): \($0)" }
    }
}
