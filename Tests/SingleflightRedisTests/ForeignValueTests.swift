import HiredisClient
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightRedis

/// Values that no process of this version writes, at names that it uses: each gives an error that says what it is.
@Suite("Foreign values in Redis", .usesServer, .timeLimit(.minutes(4)))
struct ForeignValueTests {
    /// How a key comes to hold something else.
    private static let plantings: [[String]] = [
        ["SET", "hello"], ["SET", String(repeating: "g", count: 120)], ["RPUSH", "item"], ["HSET", "field", "value"],
        // As long as a record, with a number that is none.
        ["SET", String(repeating: "a", count: 64) + "1e500000" + String(repeating: "0", count: 60)],
        // A record that ends within its numbers.
        ["SET", String(repeating: "a", count: 64) + String(repeating: "0", count: 33)],
    ]

    private static func key() throws -> FlightKey { try FlightKey(group: "pages", bytes: Array("front".utf8)) }

    private func expectForeign<Reply>(
        _ result: Result<Reply, LeaseStoreError>,
        saying words: String = "singleflight revoke",
        _ planting: [String],
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        guard case .failure(let error) = result else {
            Issue.record("\(planting): \(result)", sourceLocation: sourceLocation)
            return
        }
        #expect(error.code == .protocolViolation, "\(planting): \(error)", sourceLocation: sourceLocation)
        #expect(error.message.contains(words), "\(planting): \(error)", sourceLocation: sourceLocation)
        #expect(!error.mayHaveExecuted, "\(planting)", sourceLocation: sourceLocation)
    }

    @Test(
        "in the place of a lease are said by every request, changed by none, and removed by a revocation",
        arguments: plantings
    )
    func lease(planting: [String]) async throws {
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                let enter = EnterRequest.make(try Self.key())
                let (key, token) = (enter.key, enter.token)
                let name = store.keyspace.names(of: key).lease.description
                let arguments = ([name] + planting.dropFirst()).map { RedisArgument.string($0) }
                _ = try await store.client.send(RedisCommand(planting[0], arguments: arguments))
                let before = try await redis.command("DUMP", name)
                self.expectForeign(await store.answer(to: enter), planting)
                let renew = RenewRequest(key: key, token: token, terms: enter.terms, note: enter.note)
                self.expectForeign(await store.answer(to: renew), planting)
                let complete = CompleteRequest(key: key, token: token, outcome: .value([1]))
                self.expectForeign(await store.answer(to: complete), planting)
                for mode in [ReleaseRequest.Mode.unlessAwaited, .withdraw] {
                    let release = ReleaseRequest(key: key, token: token, mode: mode)
                    self.expectForeign(await store.answer(to: release), planting)
                }
                self.expectForeign(await store.answer(to: PollRequest(key: key, token: token)), planting)
                self.expectForeign(await store.answer(to: LeaveRequest(key: key, token: token)), planting)
                self.expectForeign(await store.answer(to: FenceRequest(key: key, token: token)), planting)
                self.expectForeign(await store.answer(to: InspectRequest(key: key)), planting)
                let enclosing = [EnclosingFlight(key: key, token: token)]
                let other = try FlightKey(group: "pages", bytes: Array("other".utf8))
                let depend = DependRequest(key: other, token: EnterRequest.make(other).token, enclosing: enclosing)
                self.expectForeign(await store.answer(to: depend), planting)
                let named = RevokeRequest(key: key, token: token, by: "test", reason: "")
                self.expectForeign(await store.answer(to: named), planting)
                #expect(try await redis.command("DUMP", name) == before)

                let revoke = RevokeRequest(key: key, token: nil, by: "test", reason: "")
                #expect(try await store.revoked(revoke) == .removedForeign)
                #expect(try await store.revoked(revoke) == .nothing)
                #expect(try await store.entered(enter) == .lead(attempt: 0))
            }
        }
    }

    @Test(
        "as fence counter are refused where no greater fence can follow",
        arguments: ["9007199254740992", "9007199254740991", "1e300", "99999999999999999999", "-5", "0x10", "high"]
    )
    func fence(planted: String) async throws {
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { store in
                let enter = EnterRequest.make(try Self.key())
                _ = try await store.entered(enter)
                let request = FenceRequest(key: enter.key, token: enter.token)
                guard case .drawn(let first) = try await store.answer(to: request).get() else {
                    Issue.record("no fence")
                    return
                }
                let name = store.keyspace.names(of: enter.key).fence.description
                try await redis.command("SET", name, planted)
                for _ in 0..<2 {
                    self.expectForeign(await store.answer(to: request), saying: ":fence", [planted])
                }
                #expect(try await redis.command("GET", name).contains(planted))
                try await redis.command("DEL", name)
                guard case .drawn(let next) = try await store.answer(to: request).get() else {
                    Issue.record("no fence")
                    return
                }
                #expect(next > first)
            }
        }
    }

    @Test("as waiters of a flight are an error, which a revocation ends")
    func waiters() async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis) { one, two in
                let enter = EnterRequest.make(try Self.key())
                _ = try await one.entered(enter)
                let name = one.keyspace.names(of: enter.key).wait.description
                try await redis.command("SET", name, "hello")
                guard case .failure(let error) = await two.answer(to: EnterRequest.make(enter.key)) else {
                    Issue.record("followed")
                    return
                }
                #expect(error.message.contains("WRONGTYPE"), "\(error)")
                let revoke = RevokeRequest(key: enter.key, token: nil, by: "test", reason: "")
                #expect(try await two.revoked(revoke) == .revoked(enter.token, waiters: 0))
                #expect(try await redis.command("EXISTS", name) == ":0\r\n")
            }
        }
    }
}
