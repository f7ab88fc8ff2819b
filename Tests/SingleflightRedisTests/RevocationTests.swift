import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

@Suite("A revocation that its leader does not hear of", .usesServer, .timeLimit(.minutes(5)))
struct RevocationTests {
    /// What tells the leader instead.
    enum Teller: CaseIterable {
        case answerToTheResult, answerToTheRenewal
    }

    /// Broke once: a leader whose operation ended between the revocation and its announcement was told that it had lost
    /// its lease.
    @Test("is told by the store's next answer, with who did it and why", arguments: Teller.allCases)
    func told(teller: Teller) async throws {
        // The leader's user may use no channel at all: nothing that is announced reaches it.
        let users = ["deaf on >secret ~* +@all resetchannels"]
        try await PrivateRedis.with(.init(users: users)) { redis in
            let url = redis.url.replacing("redis+unix://", with: "redis+unix://deaf:secret@")
            let configuration = RedisLeaseStoreConfiguration(
                namespace: "test",
                label: "deaf",
                commandTimeout: .seconds(3)
            )
            try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { store in
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: store,
                    configuration: .init(lease: .init(duration: .seconds(9)), unavailable: .fail)
                )
                let gate = Gate()
                let leader = Task {
                    await group.run("front") { _ in
                        await gate.wait()
                        return "refused"
                    }
                }
                await gate.untilArrived()
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                let revoke = RevokeRequest(key: key, token: nil, by: "ops", reason: "stuck")
                #expect(try await store.revoked(revoke) != .nothing)
                if teller == .answerToTheResult { gate.open() }
                let outcome = await leader.value
                gate.open()
                guard case .canceled(let reason) = outcome else {
                    Issue.record("\(outcome)")
                    return
                }
                #expect(reason == .revoked(by: "ops", reason: "stuck"))
            }
        }
    }
}
