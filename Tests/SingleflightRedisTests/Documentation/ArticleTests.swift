import CoreMetrics
import Foundation
import InMemoryTracing
import Logging
import MetricsTestKit
import PrivateRedis
import ServiceLifecycle
import SingleflightRedis
import SingleflightTestKit
import TestSupport
import Testing
import Tracing
import UnixSignals

/// The code of the articles, compiled and run. The last test sees to it that they show no other code than what is
/// tested.
@Suite("The articles' code", .timeLimit(.minutes(4)))
struct ArticleTests {
    struct Profile: Codable, Equatable, Sendable {
        var name: String
    }

    struct Invoice: Codable, Equatable, Sendable {
        var due: Date
    }

    struct Database: Sendable {
        func profile(_ id: String) async throws -> Profile { Profile(name: "profile of \(id)") }
        func openInvoices(tenant: UUID, month: String) async throws -> [Invoice] { [] }
    }

    enum Report: String, FlightKeyConvertible { case sales, stock }

    struct Worker: Service {
        let profiles: DistributedGroup<String, Profile>
        let database: Database

        func run() async throws {
            try await cancelWhenGracefulShutdown {
                let profile = try await profiles.value("42") { flight in
                    try await database.profile(flight.key)
                }
                print(profile.name)
            }
        }
    }

    func serve(_ url: String, database: Database, logger: Logger) async throws {
        let store = try RedisLeaseStore(url: url, logger: logger)
        let profiles = try DistributedGroup<String, Profile>("profiles", store: store)
        let worker = Worker(profiles: profiles, database: database)
        let services = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: store),
                    .init(service: worker, successTerminationBehavior: .gracefullyShutdownGroup),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        )
        try await services.run()
    }

    let database = Database()
    let store = InMemoryLeaseStore(server: InMemoryLeaseServer())

    /// `serve` is compiled and not run: it would have this process ignore signals, and whatever other tests start.
    @Test("a worker beside its store in a group of services ends", .usesServer)
    func gettingStarted() async throws {
        try await PrivateRedis.with { redis in
            let store = try RedisLeaseStore(url: redis.url)
            let profiles = try DistributedGroup<String, Profile>("profiles", store: store)
            let worker = Worker(profiles: profiles, database: self.database)
            let services = ServiceGroup(
                configuration: .init(
                    services: [
                        .init(service: store),
                        .init(service: worker, successTerminationBehavior: .gracefullyShutdownGroup),
                    ],
                    logger: Logger(label: "test")
                )
            )
            try await services.run()
            #expect(profiles.inFlight == 0)
        }
    }

    @Test("policies are chosen for a group")
    func policies() async throws {
        let configuration = DistributedGroupConfiguration(
            lease: .init(duration: .seconds(5), leaderLoss: .takeOver(attempts: 1)),
            limits: .init(flight: .seconds(60)),
            unavailable: .fail
        )
        let profiles = try DistributedGroup<String, Profile>("profiles", store: store, configuration: configuration)
        #expect(profiles.configuration.unavailable == .fail)

        let popular = DistributedGroupConfiguration(results: .init(reuse: .seconds(60), refreshAfter: .seconds(45)))
        let pages = try DistributedGroup<String, Profile>("pages", store: store, configuration: popular)
        let page = try await pages.value("front") { _ in try await database.profile("front") }

        // What the result is of has changed: computed anew, without waiting for it.
        pages.refresh("front") { _ in try await database.profile("front") }
        #expect(page.name == "profile of front")

        let observing = DistributedGroupConfiguration(mode: .observe)
        let observed = try DistributedGroup<String, Profile>("profiles", store: store, configuration: observing)
        print("\(observed.observation.coalesced) of \(observed.observation.calls) calls would have run nothing")
        #expect(observed.observation.calls == 0)
    }

    struct Model: Sendable {
        func words(about subject: String) async throws -> [String] { ["A", subject, "slept."] }
    }

    @Test("a stream is told to all who listen")
    func streams() async throws {
        let model = Model()
        let stories = try StreamGroup<String, String>("stories", store: store)

        @Sendable
        func tell(_ writer: StreamWriter<String, String>) async throws {
            for word in try await model.words(about: writer.flight.key) {
                try await writer.write(word)
            }
        }

        for try await word in stories.stream("dragon", operation: tell) {
            print(word)
        }

        var page: [String] = []
        for try await event in stories.stream("dragon", operation: tell).events {
            switch event {
            case .part(let word): page.append(word)
            case .restarted: page.removeAll()
            }
        }
        #expect(page == ["A", "dragon", "slept."])
    }

    @Test("keys have parts, and dates a form")
    func keys() async throws {
        let invoices = try DistributedGroup<CompoundKey, [Invoice]>("invoices", store: store)

        @Sendable
        func openInvoices(tenant: UUID, month: String) async throws -> [Invoice] {
            try await invoices.value(CompoundKey(tenant, month)) { _ in
                try await database.openInvoices(tenant: tenant, month: month)
            }
        }
        #expect(try await openInvoices(tenant: UUID(), month: "2026-11").isEmpty)
        #expect(Report.sales.flightKeyBytes == Array("sales".utf8))

        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        let codec = JSONCodec<Invoice>(encoder: encoder, decoder: decoder)
        let latest = try DistributedGroup<UUID, Invoice>("latest-invoice", store: store, codec: codec)
        let invoice = Invoice(due: Date(timeIntervalSince1970: 1_800_000_000))
        #expect(try await latest.value(UUID()) { _ in invoice } == invoice)
        #expect(try codec.decode(codec.encode(invoice)) == invoice)
    }

    @Test("errors are the same on every host, and outcomes throw nothing")
    func errors() async throws {
        enum ProfileError: Error, Codable { case notFound, suspended(until: String) }

        let configuration = DistributedGroupConfiguration(results: .init(typedFailures: .codable(ProfileError.self)))
        let profiles = try DistributedGroup<String, Profile>("profiles", store: store, configuration: configuration)
        await #expect(throws: ProfileError.self) {
            try await profiles.value("none") { _ in throw ProfileError.notFound }
        }

        let id = "42"
        let outcome = await profiles.run(id, waitingAtMost: .seconds(2)) { _ in try await database.profile(id) }
        switch outcome {
        case .complete(let completion):
            print(completion.role, completion.source, try completion.result.get())
        case .canceled(let reason) where reason == .waitLimitReached:
            print("two seconds were not enough; the flight goes on for the others")
        case .canceled(let reason):
            print(reason)
        }
        // Two seconds may not be enough on a machine that has other work.
        if case .canceled(let reason) = outcome {
            #expect(reason == .waitLimitReached)
        } else {
            #expect(try outcome.get().name == "profile of 42")
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

    @Test("a leader by hand")
    func byHand() async throws {
        let group = Group<String, Profile>()
        switch group.entry("42") {
        case .leader(let leader):
            await leader.perform { try await database.profile("42") }
        case .subscriber(let subscriber):
            print(await subscriber.outcome())
        }
        #expect(group.inFlight == 0)
    }

    @Test("no page shows Swift that is not compiled here, in the README's test, or in the test of tests")
    func noOther() throws {
        let sources = try [
            "Tests/SingleflightRedisTests/Documentation/ArticleTests.swift",
            "Tests/SingleflightRedisTests/ReadmeTests.swift",
            "Tests/SingleflightLeaseTests/TestYourCodeTests.swift",
        ].map(DocumentedCode.source)
        let pages = try #require(
            FileManager.default.subpaths(atPath: DocumentedCode.root.appending(path: "Sources").path())
        )
        .filter { $0.hasSuffix(".md") }
        var blocks = 0
        for page in pages {
            let code = try DocumentedCode(page: "Sources/" + page)
            blocks += code.blocks.count
            for block in code.missing(in: sources) {
                Issue.record("\(page) shows what is not tested:\n\(block.joined(separator: "\n"))")
            }
        }
        #expect(pages.count >= 11)
        #expect(blocks >= 14)
    }
}
