import Foundation
import PrivateRedis
import SingleflightRedis
import Testing

/// The scripts against the model that simulations run on: the same requests in the same order must be answered, and
/// announced, in the same way.
@Suite("The scripts and the model", .timeLimit(.minutes(3)))
struct ModelTests {
    private static let environment = ProcessInfo.processInfo.environment
    /// `SINGLEFLIGHT_MODEL_OPS` makes a run longer.
    private static let steps = environment["SINGLEFLIGHT_MODEL_OPS"].flatMap { Int($0) } ?? 20_000
    /// `SINGLEFLIGHT_MODEL_SEED` repeats one.
    private static let seed = environment["SINGLEFLIGHT_MODEL_SEED"].flatMap { UInt64($0) } ?? .random(in: 0 ... .max)

    @Test("agree on random sequences of requests, and no key is left without a time to live")
    func agree() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: .seconds(10)) { one, two in
                let comparison = try await ModelComparison(stores: [one, two], keyCount: 4, seed: Self.seed)
                for step in 0..<Self.steps {
                    if let difference = try await comparison.step() {
                        Issue.record("seed \(Self.seed), step \(step): \(difference)")
                        return
                    }
                }
                if let difference = try await comparison.compareAnnouncements() {
                    Issue.record("seed \(Self.seed): \(difference)")
                }
            }
            let names = try await redis.command("KEYS", "*").split(separator: "\r\n").filter { $0.hasPrefix("sf1:") }
            #expect(!names.isEmpty)
            for name in names {
                #expect(try await redis.command("PTTL", String(name)) != ":-1\r\n", "\(name) has no time to live")
            }
        }
    }
}
