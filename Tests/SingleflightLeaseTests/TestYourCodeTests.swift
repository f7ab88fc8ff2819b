import SingleflightLease
import SingleflightTestKit
import Synchronization
import Testing

/// The code of the article "Testing your code", run. What a test would not show stands above the tests.
@Suite("The code of the article on testing", .timeLimit(.minutes(4)))
struct TestYourCodeTests {
    struct Profile: Codable, Equatable {
        var name: String
    }

    struct ProfileService: Sendable {
        let flights: any Coalescing<String, Profile>
        let query: @Sendable (String) async throws -> Profile

        func profile(_ id: String) async throws -> Profile {
            try await self.flights.value(id) { try await self.query(id) }
        }
    }

    @Test("a request that comes while another one runs asks nobody")
    func joins() async throws {
        let flights = Group<String, Profile>()
        let service = ProfileService(flights: flights) { _ in Profile(name: "not asked for") }
        guard case .leader(let leader) = flights.entry("42") else {
            Issue.record("somebody leads already")
            return
        }
        async let first = service.profile("42")
        async let second = service.profile("42")
        while leader.subscriberCount < 2 {
            try Task.checkCancellation()  // by the test's time limit
            await Task.yield()
        }
        leader.complete(.success(Profile(name: "Ada")))
        let names = try await [first.name, second.name]
        #expect(names == ["Ada", "Ada"])
    }

    @Test("two hosts send one query")
    func twoHosts() async throws {
        let server = InMemoryLeaseServer()
        let queries = Atomic(0)
        let (results, result) = AsyncStream.makeStream(of: Profile.self)
        let hosts = try (1...2).map { number in
            let store = InMemoryLeaseStore(server: server, label: "host \(number)")
            let flights = try DistributedGroup<String, Profile>("profiles", store: store)
            return ProfileService(flights: flights) { _ in
                queries.add(1, ordering: .relaxed)
                return try #require(await results.first { _ in true })
            }
        }
        async let first = hosts[0].profile("42")
        async let second = hosts[1].profile("42")
        // One of the two leads, and its query waits; the other one is registered as waiting for it.
        await server.untilWaiters(of: try FlightKey(group: "profiles", bytes: Array("42".utf8)), 1)
        result.yield(Profile(name: "Ada"))
        let names = try await [first.name, second.name]
        #expect(names == ["Ada", "Ada"])
        #expect(queries.load(ordering: .relaxed) == 1)
    }

    @Test("without its store the service goes on", arguments: [UnavailablePolicy.runLocally, .fail])
    func outage(_ policy: UnavailablePolicy) async throws {
        let store = InMemoryLeaseStore(server: InMemoryLeaseServer())
        store.onRequest { _ in .requestLost(LeaseStoreError(.unavailable, "no Redis in this test")) }
        let configuration = DistributedGroupConfiguration(unavailable: policy)
        let flights = try DistributedGroup<String, Profile>("profiles", store: store, configuration: configuration)
        let service = ProfileService(flights: flights) { _ in Profile(name: "Ada") }
        if policy == .runLocally {
            #expect(try await service.profile("42").name == "Ada")
        } else {
            let error = await #expect(throws: DistributedGroupError.self) { try await service.profile("42") }
            #expect(error?.code == .unavailable)
        }
    }
}
