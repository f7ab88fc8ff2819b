import PrivateRedis
import SingleflightRedis

/// A store that publishes events, and what is heard of them.
func withEvents<Result: Sendable>(
    _ redis: PrivateRedis,
    publishes: Bool = true,
    _ body: (RedisLeaseStore, inout EventReader) async throws -> Result
) async throws -> Result {
    let configuration = RedisLeaseStoreConfiguration(
        namespace: "test",
        label: "one",
        commandTimeout: .seconds(10),
        publishesEvents: publishes
    )
    return try await RedisLeaseStore.withConnection(to: redis.url, configuration: configuration) { store in
        var reader = EventReader(updates: try await store.events().makeAsyncIterator())
        _ = await reader.nextUpdate()
        return try await body(store, &reader)
    }
}

/// Reads events one by one, each of which must come.
struct EventReader {
    var updates: AsyncStream<LeaseEventUpdate>.AsyncIterator

    /// The next update, whatever it is.
    mutating func nextUpdate() async -> LeaseEventUpdate? {
        await self.updates.next(isolation: #isolation)
    }

    /// The next event that is no renewal: how many of those come depends on how fast the machine is.
    mutating func next() async -> LeaseEvent? {
        while let update = await self.nextUpdate() {
            if case .event(let event) = update, event.change != .renewed { return event }
        }
        return nil
    }
}

extension RedisLeaseStore {
    func entered(_ request: EnterRequest) async throws -> EnterReply {
        try await self.answer(to: request).get()
    }

    func inspected(_ key: FlightKey) async throws -> LeaseInspection {
        try await self.answer(to: InspectRequest(key: key)).get()
    }

    func completed(_ request: CompleteRequest) async throws -> CompleteReply {
        try await self.answer(to: request).get()
    }

    func revoked(_ request: RevokeRequest) async throws -> RevokeReply {
        try await self.answer(to: request).get()
    }

    func left(_ key: FlightKey, _ token: LeaseToken) async throws -> LeaveReply {
        try await self.answer(to: LeaveRequest(key: key, token: token)).get()
    }
}

extension EnterRequest {
    /// A request for a lease that nobody renews.
    static func make(
        _ key: FlightKey,
        lease: Duration = .seconds(60),
        leaderLoss: LeaderLossPolicy = .cancel
    ) -> EnterRequest {
        var generator = SystemRandomNumberGenerator()
        let terms = LeaseTerms(
            duration: lease,
            grace: .seconds(60),
            retention: .seconds(60),
            leaderLoss: leaderLoss
        )
        return EnterRequest(
            key: key,
            token: LeaseToken(using: &generator),
            terms: terms,
            note: LeaseNote(label: "one", progress: FlightProgress(fraction: 0.4, message: "reading")),
            validity: .seconds(10)
        )
    }
}
