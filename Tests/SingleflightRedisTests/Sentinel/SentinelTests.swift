import HiredisClient
import PrivateRedis
import SingleflightLease
import Synchronization
import TestSupport
import Testing

@testable import SingleflightRedis

/// A primary with two replicas, watched by three sentinels, all of them real.
@Suite("A primary under Sentinel", .usesServer, .serialized, .timeLimit(.minutes(4)))
struct SentinelTests {
    private static func withStores(
        _ url: String,
        _ body: (RedisLeaseStore, RedisLeaseStore) async throws -> Void
    ) async throws {
        try await withTwoStores(url, commandTimeout: .seconds(4)) { one, two in
            try await one.untilSubscribed()
            try await two.untilSubscribed()
            try await body(one, two)
        }
    }

    private static func group(_ store: RedisLeaseStore) throws -> DistributedGroup<String, String> {
        let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(15)))
        return try DistributedGroup("pages", store: store, configuration: configuration)
    }

    /// How many connections of this store a server has.
    private static func connections(of store: RedisLeaseStore, at redis: PrivateRedis) async throws -> Int {
        let list = try await redis.command("CLIENT", "LIST")
        return list.split(whereSeparator: \.isNewline).count { $0.contains("name=sf:\(store.inbox) ") }
    }

    /// Returns when this holds. A question that fails is asked again: a sentinel that changes a server's role closes
    /// all connections of that server, the test's own among them.
    private static func untilSettled(_ what: String, _ holds: () async throws -> Bool) async throws {
        try await until(what) { (try? await holds()) ?? false }
    }

    // MARK: Failovers

    @Test("that changes in mid-flight costs nobody a result, and later fences are greater", arguments: [false, true])
    func failover(byLoss: Bool) async throws {
        try await PrivateSentinels.with { deployment in
            try await Self.withStores(deployment.url) { one, two in
                let (here, there) = (try Self.group(one), try Self.group(two))
                let gate = Gate("the operation")
                let fences = Mutex<[UInt64]>([])
                let leader = Task {
                    await here.run("front") { flight in
                        let fence = try await flight.fence().rawValue
                        fences.withLock { $0.append(fence) }
                        await gate.wait()
                        return "value"
                    }
                }
                await gate.untilArrived()
                let follower = Task { await there.run("front") { _ in "another" } }
                try await one.untilWaiters(1, group: "pages", key: "front")

                let old: PrivateRedis
                if byLoss {
                    old = try #require(await deployment.current())
                    await old.kill()
                    try await deployment.untilMoved(from: old)
                } else {
                    old = try await deployment.failOver().old
                }
                let new = try #require(await deployment.current())
                #expect(new.port != old.port)
                try await Self.untilSettled("both connections of both stores lead to the new primary") {
                    for store in [one, two] where try await Self.connections(of: store, at: new) < 2 { return false }
                    return true
                }
                gate.open()
                #expect(try await leader.value.get() == "value")
                // Where the lease was lost with the old primary, the follower may have led itself.
                #expect(["value", "another"].contains(try await follower.value.get()))

                let later = try await there.value("front") { flight in
                    let fence = try await flight.fence().rawValue
                    fences.withLock { $0.append(fence) }
                    return "later"
                }
                #expect(later == "later")
                let drawn = fences.withLock { $0 }
                #expect(drawn.count == 2 && drawn[0] < drawn[1])
            }
        }
    }

    @Test("that was demoted is left at once, with both connections, also by a process that has nothing to ask")
    func demoted() async throws {
        try await PrivateSentinels.with { deployment in
            try await Self.withStores(deployment.url) { one, _ in
                let (old, new) = try await deployment.failOver()
                try await Self.untilSettled("both connections lead to the new primary") {
                    try await Self.connections(of: one, at: new) == 2
                }
                try await Self.untilSettled("no connection leads to the old one") {
                    try await Self.connections(of: one, at: old) == 0
                }
                #expect(try await Self.group(one).value("front") { _ in "value" } == "value")
            }
        }
    }

    @Test("that was frozen, and comes back as a replica, is not gone back to")
    func frozen() async throws {
        try await PrivateSentinels.with { deployment in
            try await Self.withStores(deployment.url) { one, two in
                let old = try #require(await deployment.current())
                old.pause()
                let new = try await deployment.untilMoved(from: old)
                let group = try Self.group(two)
                try await until("a coordinated call") {
                    let outcome = await group.run("back") { _ in "" }
                    guard case .complete(let completion) = outcome else { return false }
                    return completion.coordination == .coordinated
                }
                old.resume()
                try await Self.untilSettled("the old primary is a replica") {
                    try await old.command("ROLE").contains("slave")
                }
                try await Self.untilSettled("no connection leads to the old primary") {
                    let left = try await Self.connections(of: one, at: old)
                    return try await Self.connections(of: one, at: new) == 2 && left == 0
                }
            }
        }
    }

    // MARK: What is wrong with an address

    private static func failure(_ url: String, commandTimeout: Duration = .seconds(5)) async throws -> LeaseStoreError {
        let configuration = RedisLeaseStoreConfiguration(namespace: "test", commandTimeout: commandTimeout)
        let error = await #expect(throws: LeaseStoreError.self) {
            try await RedisLeaseStore.withConnection(to: url, configuration: configuration) { _ in }
        }
        return try #require(error)
    }

    @Test("whose name, sentinel or server is wrongly given: the error says what is wrong and what to do")
    func wrongAddresses() async throws {
        try await PrivateSentinels.with { deployment in
            let name = try await Self.failure(deployment.url(of: deployment.sentinels, name: "mian"))
            #expect(name.code == .invalidRequest)
            #expect(name.message.contains("no primary named 'mian'") && name.message.contains("check the name"))

            let server = try await Self.failure(deployment.url(of: [deployment.servers[0]]))
            #expect(server.message.contains("is no sentinel"))

            let port = try #require(deployment.sentinels[0].port)
            let sentinel = try await Self.failure("redis://127.0.0.1:\(port)")
            #expect(sentinel.message.contains("redis-sentinel://"))

            let primary = try #require(deployment.servers[0].port)
            let replica = try await Self.failure(deployment.servers[1].url)
            #expect(replica.message.contains("its role is slave (of 127.0.0.1:\(primary)); connect to its primary"))

            // The first sentinel is down, and one that is no sentinel stands behind it.
            await deployment.sentinels[0].kill()
            let sentinels = [deployment.sentinels[0], deployment.servers[0]] + deployment.sentinels.dropFirst()
            try await RedisLeaseStore.withConnection(to: deployment.url(of: sentinels)) { store in
                let value = try await Self.group(store).value("front") { _ in "value" }
                #expect(value == "value")
            }
        }
    }

    @Test("and sentinels with a password of their own: right, wrong and missing")
    func passwords() async throws {
        var configuration = PrivateSentinels.Configuration()
        configuration.password = "servers"
        configuration.sentinelPassword = "sentinels"
        configuration.replicas = 1
        try await PrivateSentinels.with(configuration) { deployment in
            try await RedisLeaseStore.withConnection(to: deployment.url) { store in
                let value = try await Self.group(store).value("front") { _ in "value" }
                #expect(value == "value")
            }
            let wrong = try await Self.failure(deployment.url(of: deployment.sentinels, sentinelPassword: "servers"))
            #expect(wrong.code == .refused)
            #expect(wrong.message.contains("check sentinel-user and sentinel-password"))
            let missing = deployment.url.split(separator: "?").first.map(String.init) ?? ""
            let none = try await Self.failure(missing)
            #expect(none.code == .refused)
            #expect(none.message.contains("wants a password: give sentinel-password"))
            #expect(!none.message.contains("servers"))
        }
    }

    @Test("that no sentinel can be asked for is a typed error within the command timeout")
    func unreachable() async throws {
        // Ports of the range from which no system hands out any.
        let url = "redis-sentinel://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3/main"
        let error = try await Self.failure(url, commandTimeout: .seconds(2))
        #expect(error.code == .unavailable)
        #expect(error.message.contains("no sentinel tells where the primary 'main' is"))
        #expect(error.message.contains("127.0.0.1:3"))
    }
}

/// Leases that count once replicas have them.
@Suite("A lease that is to be confirmed", .usesServer, .timeLimit(.minutes(4)))
struct ConfirmationTests {
    private static func configuration(_ confirm: LeaseConfirmation) -> RedisLeaseStoreConfiguration {
        .init(namespace: "test", commandTimeout: .seconds(4), confirm: confirm)
    }

    @Test("counts when replicas have it, and not where there are too few", arguments: [(1, true), (2, false)])
    func replicas(count: Int, isConfirmed: Bool) async throws {
        var configuration = PrivateSentinels.Configuration()
        (configuration.replicas, configuration.sentinels) = (1, 1)
        try await PrivateSentinels.with(configuration) { deployment in
            let confirm = LeaseConfirmation.replicas(count, within: .seconds(2))
            try await RedisLeaseStore.withConnection(
                to: deployment.url,
                configuration: Self.configuration(confirm)
            ) { store in
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                let request = EnterRequest.make(key)
                switch await store.answer(to: request) {
                case .success(.lead):
                    #expect(isConfirmed)
                    let names = try await deployment.servers[1].command("KEYS", "*front*")
                    #expect(names.contains("front"))
                case .success(let reply):
                    Issue.record("\(reply)")
                case .failure(let error):
                    #expect(!isConfirmed)
                    #expect(error.code == .unavailable && error.mayHaveExecuted)
                    #expect(error.message.contains("1 of 2 replicas confirmed it"))
                }
            }
        }
    }

    @Test("for longer than half the command timeout, or by nobody, is refused")
    func limits() {
        for confirm in [LeaseConfirmation.replicas(0, within: .seconds(1)), .replicas(1, within: .seconds(3))] {
            let error = #expect(throws: LeaseStoreError.self) {
                try RedisLeaseStore(url: "redis://h", configuration: Self.configuration(confirm))
            }
            #expect(error?.code == .invalidRequest)
        }
    }
}
