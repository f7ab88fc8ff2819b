import Foundation
import HiredisClient
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightRedis

/// What docs/protocol.md says a user must be allowed to do, tried on a server that knows just that user.
@Suite("The documented user with the least privilege", .usesServer, .timeLimit(.minutes(4)))
struct LeastPrivilegeTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// The rules behind `user singleflight on >password`, for the namespace of these tests or another.
    private static func documentedRules(namespace: String = "test:") throws -> [String] {
        let page = try String(contentsOf: root.appending(path: "docs/protocol.md"), encoding: .utf8)
        let section = try #require(page.components(separatedBy: "## Least privilege").last)
        let block = try #require(section.components(separatedBy: "```").dropFirst().first)
        let words = block.split(whereSeparator: \.isWhitespace).map(String.init)
        try #require(words.prefix(4) == ["user", "singleflight", "on", ">…"])
        return words.dropFirst(4).map { $0.replacing("shop:", with: namespace) }
    }

    /// Two processes' stores that log in as the user, on database 1, so that SELECT is tried, too.
    private func withUser(
        _ body: @Sendable (PrivateRedis, RedisLeaseStore, RedisLeaseStore) async throws -> Void
    ) async throws {
        let users = ["singleflight on >secret " + (try Self.documentedRules()).joined(separator: " ")]
        try await PrivateRedis.with(.init(users: users)) { redis in
            // Where the server knows such a command. Another does not know its name in a rule either.
            for right in ["+delifeq", "+delex"] { try await redis.command("ACL", "SETUSER", "singleflight", right) }
            let url = redis.url.replacing("redis+unix://", with: "redis+unix://singleflight:secret@") + "?db=1"
            func configuration(_ label: String) -> RedisLeaseStoreConfiguration {
                .init(namespace: "test", label: label, commandTimeout: .seconds(10))
            }
            try await RedisLeaseStore.withConnection(to: url, configuration: configuration("one")) { one in
                try await RedisLeaseStore.withConnection(to: url, configuration: configuration("two")) { two in
                    try await one.untilSubscribed()
                    try await two.untilSubscribed()
                    try await body(redis, one, two)
                    // Redis logs whatever it refused, also what a script did not mind.
                    #expect(try await redis.command("ACL", "LOG") == "*0\r\n")
                }
            }
        }
    }

    private func group(
        _ store: RedisLeaseStore,
        _ leaderLoss: LeaderLossPolicy = .cancel
    ) throws -> DistributedGroup<String, String> {
        let configuration = DistributedGroupConfiguration(
            lease: .init(duration: .seconds(60), leaderLoss: leaderLoss),
            results: .init(reuse: .milliseconds(1)),
            unavailable: .fail
        )
        return try DistributedGroup("pages", store: store, configuration: configuration)
    }

    @Test("leads, draws a fence, follows, and shares a value")
    func shares() async throws {
        try await self.withUser { _, one, two in
            let (here, there) = (try self.group(one), try self.group(two))
            let gate = Gate()
            async let led = here.value("front") { flight in
                _ = try await flight.fence()
                await gate.wait()
                return "value"
            }
            await gate.untilArrived()
            async let followed = there.value("front") { _ in "another" }
            try await one.untilWaiters(1, group: "pages", key: "front")
            gate.open()
            let values = try await [led, followed]
            #expect(values == ["value", "value"])
        }
    }

    @Test("writes and reads a stream")
    func streams() async throws {
        try await self.withUser { _, one, two in try await StreamTests.share("front", one, two) }
    }

    @Test("leaves a flight, and revokes one")
    func leavesAndRevokes() async throws {
        try await self.withUser { _, one, two in
            let (here, there) = (try self.group(one), try self.group(two))
            let gate = Gate()
            async let led = here.run("front") { _ in
                await gate.wait()
                return "value"
            }
            await gate.untilArrived()
            let impatient = await there.run("front", waitingAtMost: .milliseconds(200)) { _ in "another" }
            guard case .canceled(.waitLimitReached) = impatient else {
                Issue.record("\(impatient)")
                return
            }
            let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
            let revoke = RevokeRequest(key: key, token: nil, by: "test", reason: "why")
            let reply = await two.answer(to: revoke)
            guard case .revoked = try reply.get(), case .canceled(.revoked(by: "test", reason: "why")) = await led
            else {
                Issue.record("not revoked")
                return
            }
            gate.open()
        }
    }

    @Test("finds a leader lost, and takes over")
    func takesOver() async throws {
        try await self.withUser { _, one, two in
            var generator = SystemRandomNumberGenerator()
            let terms = LeaseTerms(
                duration: .milliseconds(200),
                grace: .seconds(5),
                retention: .seconds(5),
                leaderLoss: .takeOver(attempts: 1)
            )
            let enter = EnterRequest(
                key: try FlightKey(group: "pages", bytes: Array("front".utf8)),
                token: LeaseToken(using: &generator),
                terms: terms,
                note: LeaseNote(label: "a leader that never renews"),
                validity: .seconds(10)
            )
            let granted = await one.answer(to: enter)
            #expect(try granted.get() == .lead(attempt: 0))
            let there = try self.group(two, .takeOver(attempts: 1))
            let outcome = await there.run("front") { _ in "taken over" }
            guard case .complete(let completion) = outcome else {
                Issue.record("\(outcome)")
                return
            }
            #expect(try completion.result.get() == "taken over")
            #expect(completion.attempts == 2)
        }
    }

    @Test(
        "is told that it was refused where a permission is missing, outside of a script and inside of one",
        arguments: ["+set", "~sf2:{default:*", "+hset"]
    )
    func isRefused(missing: String) async throws {
        let rules = try Self.documentedRules(namespace: "default:").filter { $0 != missing }
        try await PrivateRedis.with(.init(users: ["singleflight on >secret " + rules.joined(separator: " ")])) {
            redis in
            // The default user may do everything, and leads: so the other one comes to register, which a script does.
            try await RedisLeaseStore.withConnection(to: redis.url) { leader in
                var generator = SystemRandomNumberGenerator()
                let terms = LeaseTerms(
                    duration: .seconds(30),
                    grace: .seconds(5),
                    retention: .seconds(5),
                    leaderLoss: .cancel
                )
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                let enter = EnterRequest(
                    key: key,
                    token: LeaseToken(using: &generator),
                    terms: terms,
                    note: LeaseNote(label: "leader"),
                    validity: .seconds(10)
                )
                _ = await leader.answer(to: enter)
                let url = redis.url.replacing("redis+unix://", with: "redis+unix://singleflight:secret@")
                try await RedisLeaseStore.withConnection(to: url) { follower in
                    let configuration = DistributedGroupConfiguration(unavailable: .fail)
                    let group = try DistributedGroup<String, String>(
                        "pages",
                        store: follower,
                        configuration: configuration
                    )
                    let outcome = await group.run("front") { _ in "value" }
                    guard case .complete(let completion) = outcome, case .failure(let error) = completion.result else {
                        Issue.record("\(outcome)")
                        return
                    }
                    let cause = (error as? DistributedGroupError)?.underlying as? LeaseStoreError
                    #expect(cause?.code == .refused, "\(error)")
                    #expect(cause?.message.contains("secret") == false)
                }
            }
        }
    }

    @Test("can neither read, forge, revoke nor hear anything of another namespace")
    func otherNamespace() async throws {
        let users = ["singleflight on >secret " + (try Self.documentedRules()).joined(separator: " ")]
        try await PrivateRedis.with(.init(users: users)) { redis in
            // One whose name begins with that of the user's own.
            let other = RedisLeaseStoreConfiguration(
                namespace: "test2",
                commandTimeout: .seconds(10),
                publishesEvents: true
            )
            try await RedisLeaseStore.withConnection(to: redis.url, configuration: other) { owner in
                let enter = EnterRequest.make(try FlightKey(group: "pages", bytes: Array("front".utf8)))
                let (key, token) = (enter.key, enter.token)
                _ = try await owner.entered(enter)
                let before = try await redis.command("DUMP", owner.keyspace.names(of: key).lease.description)
                let url = redis.url.replacing("redis+unix://", with: "redis+unix://singleflight:secret@")
                try await RedisLeaseStore.withConnection(to: url, configuration: other) { intruder in
                    func expectRefused(_ request: LeaseRequest) async {
                        let result = await withCheckedContinuation { continuation in
                            intruder.send(request) { continuation.resume(returning: $0) }
                        }
                        guard case .failure(let error) = result else {
                            Issue.record("\(request.kind): \(result)")
                            return
                        }
                        #expect(error.code == .refused, "\(request.kind): \(error)")
                    }
                    await expectRefused(.inspect(InspectRequest(key: key)))
                    await expectRefused(.poll(PollRequest(key: key, token: token)))
                    await expectRefused(.enter(EnterRequest.make(key)))
                    let renew = RenewRequest(key: key, token: token, terms: enter.terms, note: enter.note)
                    await expectRefused(.renew(renew))
                    await expectRefused(.complete(CompleteRequest(key: key, token: token, outcome: .value([6]))))
                    await expectRefused(.release(ReleaseRequest(key: key, token: token, mode: .giveUp)))
                    await expectRefused(.revoke(RevokeRequest(key: key, token: token, by: "intruder", reason: "")))
                    await expectRefused(.revoke(RevokeRequest(key: key, token: nil, by: "intruder", reason: "")))
                    await expectRefused(.leave(LeaveRequest(key: key, token: token)))
                    await expectRefused(.fence(FenceRequest(key: key, token: token)))
                    for channel in [owner.keyspace.inboxPrefix + "\(owner.inbox)", owner.keyspace.eventChannel] {
                        let news = "2hh\(token)pages:front\n"
                        let forged = RedisCommand("PUBLISH", .string(channel), .string(news))
                        await #expect(throws: RedisClientError.self) { try await intruder.client.send(forged) }
                        await #expect(throws: RedisClientError.self) {
                            try await intruder.client.send(RedisCommand("SUBSCRIBE", .string(channel)))
                        }
                    }
                    await #expect(throws: LeaseStoreError.self) { try await intruder.events() }
                }
                #expect(try await redis.command("DUMP", owner.keyspace.names(of: key).lease.description) == before)
            }
        }
    }

    @Test("is the one that docker/ sets up")
    func docker() throws {
        let file = try String(contentsOf: Self.root.appending(path: "docker/users.acl"), encoding: .utf8)
        let users = file.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(
            users.map { $0.prefix(3) } == [
                ["user", "default", "off"], ["user", "singleflight", "on"], ["user", "operator", "on"],
            ]
        )
        let (worker, operators) = (users[1].dropFirst(4), users[2].dropFirst(4))
        #expect(Array(worker) == (try Self.documentedRules(namespace: "")))
        #expect(operators.starts(with: worker) && operators.contains("+scan"))
    }

    @Test(
        "the file of docker/ with the passwords' hashes in it is one that Redis takes, and the operator passes the doctor"
    )
    func dockerFile() async throws {
        // As docker/start-redis fills it in; the hash is that of `pw`.
        let hash = "30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4"
        let file = try String(contentsOf: Self.root.appending(path: "docker/users.acl"), encoding: .utf8)
        let users = file.split(separator: "\n").dropFirst().map { line in
            let words = line.split(separator: " ")
            return ([String(words[1]), "on", "#" + hash] + words.dropFirst(4).map(String.init)).joined(separator: " ")
        }
        try await PrivateRedis.with(.init(users: users)) { redis in
            for user in ["singleflight", "operator"] {
                let url = redis.url.replacing("redis+unix://", with: "redis+unix://\(user):pw@")
                let facts = try await RedisProbe.facts(url: url, configuration: .init(namespace: "test")) { .zero }
                #expect(facts.refusedCommands == [:])
                #expect(facts.mayScan == (user == "operator"))
                #expect(facts.settings.isEmpty == (user == "singleflight"))
            }
        }
    }
}
