import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightRedis

/// Pub/sub knows no databases: their number is part of the channels' names.
@Suite("Two databases of one server", .usesServer, .timeLimit(.minutes(4)))
struct DatabaseTests {
    @Test("hear nothing of one another, with the same namespace and the same keys")
    func apart() async throws {
        try await PrivateRedis.with { redis in
            func configuration(_ label: String) -> RedisLeaseStoreConfiguration {
                .init(namespace: "test", label: label, commandTimeout: .seconds(10), publishesEvents: true)
            }
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: configuration("zero")) { zero in
                let url = redis.url + "?db=1"
                try await RedisLeaseStore.withConnection(to: url, configuration: configuration("one")) { one in
                    #expect(zero.keyspace.eventChannel == "sf2:ev:test:0")
                    #expect(one.keyspace.eventChannel == "sf2:ev:test:1")
                    #expect(one.keyspace.inboxPrefix == "sf2:in:test:1:")
                    var reader = EventReader(updates: try await zero.events().makeAsyncIterator())
                    _ = await reader.updates.next()
                    let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                    let (there, here) = (EnterRequest.make(key), EnterRequest.make(key))
                    #expect(try await one.entered(there) == .lead(attempt: 0))
                    #expect(try await zero.entered(here) == .lead(attempt: 0))
                    // The first that is heard is the own one.
                    #expect(await reader.next()?.token == here.token)
                }
            }
        }
    }
}
