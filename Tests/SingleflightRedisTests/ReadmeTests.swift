import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// The README's code, compiled and run. The last test sees to it that the README shows no other code than this.
@Suite("The README's code", .usesServer, .timeLimit(.minutes(4)))
struct ReadmeTests {
    private struct Profile: Codable, Equatable, Sendable {
        var name: String
    }

    private struct Database: Sendable {
        func profile(_ id: String) async throws -> Profile { Profile(name: "profile of \(id)") }

        func profiles(_ ids: [String]) async throws -> [String: Profile] {
            Dictionary(uniqueKeysWithValues: ids.map { ($0, Profile(name: "profile of \($0)")) })
        }
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

    @Test("tells how a result came about")
    func outcome() async throws {
        let (database, id) = (Database(), "42")
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                let profiles = try DistributedGroup<String, Profile>("profiles", store: store)
                let outcome = await profiles.run(id, waitingAtMost: .seconds(2)) { _ in try await database.profile(id) }
                switch outcome {
                case .complete(let completion):
                    // .role is .leader, .subscriber, .follower or .reused; there are .source, .isShared, .waited, .token,
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

    @Test("asks for many keys at once")
    func many() async throws {
        let (database, ids) = (Database(), ["42", "43"])
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                let profiles = try DistributedGroup<String, Profile>("profiles", store: store)
                let found = await profiles.values(ids) { led in
                    try await database.profiles(led.keys)  // those that nobody else asks for: one query
                }
                for id in ids { print(try found[id]?.get().name ?? "") }
                #expect(try found.mapValues { try $0.get().name } == ["42": "profile of 42", "43": "profile of 43"])
            }
        }
    }

    @Test("streams")
    func stream() async throws {
        let model = ArticleTests.Model()
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                let stories = try StreamGroup<String, String>("stories", store: store)
                let story = stories.stream("dragon") { writer in
                    for word in try await model.words(about: "dragon") { try await writer.write(word) }
                }
                for try await word in story { print(word) }
                #expect(stories.name == "stories")
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

    @Test("the README shows just this code, and the program of the first example")
    func noOther() throws {
        let sources = try [
            "Tests/SingleflightRedisTests/ReadmeTests.swift", "Examples/Quickstart/main.swift",
        ].map(DocumentedCode.source)
        let readme = try DocumentedCode(page: "README.md")
        #expect(readme.blocks.count == 7)
        for block in readme.missing(in: sources) {
            Issue.record("not tested:\n\(block.joined(separator: "\n"))")
        }
    }
}
