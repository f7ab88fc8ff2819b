import CoreMetrics
import Foundation
import InMemoryTracing
import Logging
import MetricsTestKit
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing
import Tracing

/// The README's code, compiled and run. The last test sees to it that the README shows no other code than this.
@Suite("The README's code", .usesServer, .timeLimit(.minutes(1)))
struct ReadmeTests {
    private struct Profile: Codable, Equatable, Sendable {
        var name: String
    }

    private struct Database: Sendable {
        func profile(_ id: String) async throws -> Profile { Profile(name: "profile of \(id)") }
    }

    @Test("coalesces in one process")
    func local() async throws {
        let database = Database()

        let group = Group<String, Profile>()

        @Sendable
        func profile(_ id: String) async throws -> Profile {
            try await group.value(id) { try await database.profile(id) }
        }
        #expect(try await profile("42").name == "profile of 42")
    }

    @Test("sets a store up, which connects when it is run")
    func distributed() async throws {
        let database = Database()

        let store = try RedisLeaseStore(url: "redis://127.0.0.1:6379")  // a Service: run it in your ServiceGroup
        let profiles = try DistributedGroup<String, Profile>("profiles", store: store)

        @Sendable
        func profile(_ id: String) async throws -> Profile {
            try await profiles.value(id) { flight in
                try await database.profile(id)
            }
        }
        #expect(profiles.name == "profiles")
    }

    @Test("tells how a result came about")
    func outcome() async throws {
        let (database, id) = (Database(), "42")
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                let profiles = try DistributedGroup<String, Profile>("profiles", store: store)
                let outcome = await profiles.run(id, waitingAtMost: .seconds(2)) { _ in try await database.profile(id) }
                switch outcome {
                case .complete(let completion):
                    // .role is .leader, .subscriber or .follower; there are .source, .isShared, .waited, .token,
                    // .coordination, too.
                    print(completion.role, try completion.result.get())
                    #expect(completion.role == .leader)
                case .canceled(let reason):
                    print(reason)  // the leader's lease expired, it shut down, somebody revoked it, …
                    Issue.record("canceled: \(reason)")
                }
            }
        }
    }

    @Test("works by hand, and reads progress")
    func byHand() async throws {
        let (database, id) = (Database(), "42")
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                let profiles = try DistributedGroup<String, Profile>("profiles", store: store)
                switch await profiles.entry(id) {
                case .leader(let leader):  // its lease is held while it lives; onLost { … } tells if not
                    let outcome = await leader.perform {
                        leader.report(progress: FlightProgress(fraction: 0.5, message: "asking the database"))
                        return try await database.profile(id)
                    }
                    print(outcome)  // with the store's word on the result; what the work throws reaches everybody, too
                case .subscriber(let subscriber):
                    for await progress in subscriber.progress { print(progress.message) }
                    print(await subscriber.outcome())
                    Issue.record("it does not lead")
                }
            }
        }
    }

    @Test("follows")
    func follow() async throws {
        let id = "42"
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                let profiles = try DistributedGroup<String, Profile>("profiles", store: store)
                if case .canceled(.noFlight) = await profiles.follow(id) { print("nobody computes \(id) now") }
                let outcome = await profiles.follow(id)
                #expect(throws: Cancellation.noFlight) { try outcome.get() }
            }
        }
    }

    @Test("observes")
    func observe() async throws {
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                let observing = DistributedGroupConfiguration(mode: .observe)
                let observed = try DistributedGroup<String, Profile>("profiles", store: store, configuration: observing)
                print("\(observed.observation.coalesced) of \(observed.observation.calls) calls would have run nothing")
                let profile = try await observed.value("42") { _ in Profile(name: "own") }
                #expect(profile.name == "own")
                #expect(observed.observation.calls == 1)
            }
        }
    }

    /// Compiled, and not run: a process is bootstrapped once, and this one's other tests are not to be measured.
    private func operate(_ url: String, _ metrics: TestMetrics, _ tracer: InMemoryTracer, _ logger: Logger) throws {
        MetricsSystem.bootstrap(metrics)  // any backend of swift-metrics, before groups and stores are made
        InstrumentationSystem.bootstrap(tracer)  // any of swift-distributed-tracing: followers link to their leader
        let store = try RedisLeaseStore(url: url, logger: logger)
        let configuration = DistributedGroupConfiguration(observability: .init(logger: logger))
        let profiles = try DistributedGroup<String, Profile>("profiles", store: store, configuration: configuration)
        _ = profiles
    }

    @Test("the README shows just this code")
    func noOther() throws {
        let here = URL(filePath: #filePath)
        let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let tested = Set(Self.lines(try String(contentsOf: here, encoding: .utf8)))
        let readme = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
        let blocks = readme.components(separatedBy: "```swift\n").dropFirst().compactMap {
            $0.components(separatedBy: "```").first
        }
        let code = blocks.filter { !$0.hasPrefix("// Package.swift") }
        #expect(code.count == 7)
        for line in code.flatMap(Self.lines) where !line.hasPrefix("import ") {
            #expect(tested.contains(line), "not tested: \(line)")
        }
    }

    private static func lines(_ text: String) -> [String] {
        text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }
}
