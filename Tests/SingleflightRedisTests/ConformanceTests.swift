import HiredisClient
import PrivateRedis
import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

@testable import SingleflightRedis

@Suite("The store in Redis", .usesServer, .timeLimit(.minutes(5)))
struct RedisConformanceTests {
    /// Its stores live until the test ends; time passes on the server's clock.
    final class Fixture: LeaseStoreFixture {
        private let url: String
        private let configuration: RedisLeaseStoreConfiguration
        private let stores = Mutex<[RedisLeaseStore]>([])

        init(url: String, configuration: RedisLeaseStoreConfiguration = .init(commandTimeout: .seconds(5))) {
            self.url = url
            self.configuration = configuration
        }

        func makeStore(label: String) async throws -> any LeaseStore {
            var configuration = self.configuration
            configuration.label = label
            let store = try RedisLeaseStore(url: self.url, configuration: configuration)
            self.stores.withLock { $0.append(store) }
            try await store.connectWithInbox()
            return store
        }

        func kill(_ store: any LeaseStore) async {
            guard let store = store as? RedisLeaseStore else { return }
            await store.shutDown()
            // The server notices in its own time.
            let channel = RedisArgument.string(store.keyspace.inboxPrefix + store.inbox.description)
            let others = self.stores.withLock { stores in stores.filter { $0 !== store } }
            for other in others {
                while let reply = try? await other.client.send(RedisCommand("PUBSUB", "NUMSUB", channel)),
                    reply.array?.last?.integer != 0
                {
                    await Task.yield()
                }
            }
        }

        /// A lease on a real server ends by the server's clock, and no event tells of it.
        func advance(by duration: Duration) async {
            try? await ContinuousClock().sleep(for: duration)
        }

        func shutDown() async {
            for store in self.stores.withLock({ $0 }) {
                await store.shutDown()
            }
        }
    }

    @Test("keeps the promises of a lease store", arguments: LeaseStoreConformance.cases)
    func conforms(_ promise: LeaseStoreConformance.Case) async throws {
        try await PrivateRedis.with { redis in
            let fixture = Fixture(url: redis.url)
            await #expect(throws: Never.self) { try await promise.run(on: fixture) }
            await fixture.shutDown()
        }
    }
}

extension RedisLeaseStore {
    /// Connects, and returns once the inbox is subscribed to: what is announced from now on is heard.
    fileprivate func connectWithInbox() async throws {
        let key = try FlightKey(group: "inbox", bytes: [])
        let (events, continuation) = AsyncStream.makeStream(of: Void.self)
        let registration = self.listen(for: key) { event in
            if case .resumed = event { continuation.finish() }
        }
        try self.start()
        try await self.untilConnected()
        for await _ in events {}
        registration.cancel()
    }
}
