import FaultProxy
import Foundation
import HiredisClient
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightRedis

/// A flight that nobody joined ends by a command that compares its lease and deletes it. The server that these tests
/// run on need not have one: see ``DeletingProxy``.
@Suite("Flights that nobody joins", .usesServer, .timeLimit(.minutes(4)))
struct UnsharedFlightTests {
    private static let key = "front"

    private static func flightKey() throws -> FlightKey { try FlightKey(group: "pages", bytes: Array(Self.key.utf8)) }

    private static func group(
        _ store: RedisLeaseStore,
        reuse: Duration = .zero
    ) throws -> DistributedGroup<String, String> {
        let configuration = DistributedGroupConfiguration(
            lease: .init(duration: .seconds(60)),
            results: .init(reuse: reuse),
            unavailable: .fail
        )
        return try DistributedGroup("pages", store: store, configuration: configuration)
    }

    /// A store whose connection was cut is connected again: on a busy machine that takes more than one attempt.
    private static func untilBack(_ store: RedisLeaseStore, _ key: FlightKey) async throws {
        try await until("the connection") {
            if case .success = await store.answer(to: InspectRequest(key: key)) { true } else { false }
        }
    }

    /// Whether an answer gives this value of an earlier flight, while nobody leads.
    private static func gives(_ reply: EnterReply, _ value: [UInt8], of token: LeaseToken) -> Bool {
        guard case .reuse(token, .value(value), let freshness?) = reply else { return false }
        return !freshness.isLed
    }

    private static func complete(_ enter: EnterRequest, _ payload: [UInt8] = [1], reuse: Duration = .zero)
        -> CompleteRequest
    {
        CompleteRequest(key: enter.key, token: enter.token, outcome: .value(payload), reuse: reuse)
    }

    /// What a key holds; empty if there is none.
    private static func value(_ redis: PrivateRedis, _ name: RedisArgument) async throws -> Substring {
        let reply = try await redis.command("GET", name.description)
        return reply.split(separator: "\r\n", omittingEmptySubsequences: false).dropFirst().first ?? ""
    }

    // MARK: - Without a script

    @Test(
        "end without a script, and leave nothing behind",
        arguments: [DeletingProxy.Server.knowsDelifeq, .knowsDelex]
    )
    func unshared(_ server: DeletingProxy.Server) async throws {
        try await DeletingProxy.with(server) { redis, proxy in
            try await proxy.withStores { one, _ in
                let group = try Self.group(one)
                // The first ones find out which command there is.
                for _ in 0..<2 { _ = try await group.run(Self.key) { _ in "" }.get() }
                let before = proxy.counts
                for number in 0..<10 {
                    let outcome = await group.run(Self.key) { _ in "\(number)" }
                    guard case .complete(let completion) = outcome else {
                        Issue.record("\(outcome)")
                        return
                    }
                    #expect(try completion.result.get() == "\(number)")
                    #expect(completion.coordination == .coordinated)
                }
                #expect(proxy.count("EVALSHA") == before["EVALSHA"] ?? 0)
                let command = server == .knowsDelex ? "DELEX" : "DELIFEQ"
                for each in ["SET", "STRLEN", command] {
                    #expect(proxy.count(each) == (before[each] ?? 0) + 10, "\(each)")
                }
                #expect(try await redis.command("DBSIZE") == ":0\r\n")
            }
        }
    }

    @Test(
        "end by the script where the server has no such command, or the user no right to it, as is found out once",
        arguments: [DeletingProxy.Server.old, .refusing]
    )
    func fallsBack(_ server: DeletingProxy.Server) async throws {
        try await DeletingProxy.with(server) { redis, proxy in
            try await proxy.withStores { one, _ in
                let group = try Self.group(one)
                for number in 0..<10 {
                    #expect(try await group.run(Self.key) { _ in "\(number)" }.get() == "\(number)")
                }
                #expect(proxy.count("DELIFEQ") == 1)
                #expect(proxy.count("DELEX") == 1)
                #expect(proxy.count("EVALSHA") == 10)
                // On another connection there may be another server.
                let connection = one.client.connectionNumber(for: .none)
                try await proxy.proxy.cut(.command)
                try await until("another connection") { one.client.connectionNumber(for: .none) > connection }
                for number in 0..<10 {
                    #expect(try await group.run(Self.key) { _ in "\(number)" }.get() == "\(number)")
                }
                #expect(proxy.count("DELIFEQ") == 2)
                #expect(proxy.count("DELEX") == 2)
                #expect(proxy.count("EVALSHA") == 20)
                #expect(try await redis.command("DBSIZE") == ":0\r\n")
            }
        }
    }

    @Test("end by the command that the server has, if it has one, on the connection itself")
    func realServer() async throws {
        try await PrivateRedis.with { redis in
            let command = try await Self.commandOfServer(redis)
            try await withTwoStores(redis) { one, _ in
                let group = try Self.group(one)
                for _ in 0..<3 { _ = try await group.run(Self.key) { _ in "" }.get() }
                try await redis.command("CONFIG", "RESETSTAT")
                for _ in 0..<10 { _ = try await group.run(Self.key) { _ in "" }.get() }
                let statistics = try await redis.command("INFO", "commandstats")
                let calls = command.map { "cmdstat_\($0):calls=10," } ?? "cmdstat_evalsha:calls=10,"
                #expect(statistics.contains(calls), "\(statistics)")
                #expect(statistics.contains("cmdstat_evalsha") == (command == nil))
                #expect(try await redis.command("DBSIZE") == ":0\r\n")
            }
        }
    }

    /// In small letters, as statistics have it.
    private static func commandOfServer(_ redis: PrivateRedis) async throws -> String? {
        for name in ["delifeq", "delex"] where try await redis.command("COMMAND", "INFO", name).contains(name) {
            return name
        }
        return nil
    }

    @Test("do not send a long result at all")
    func longResult() async throws {
        try await DeletingProxy.with { redis, proxy in
            try await proxy.withStores { one, _ in
                let configuration = DistributedGroupConfiguration(lease: .init(duration: .seconds(60)))
                let group = try DistributedGroup<String, [UInt8]>("pages", store: one, configuration: configuration)
                _ = try await group.run(Self.key) { _ in [1] }.get()
                let value = [UInt8](repeating: 1, count: 1 << 20)
                #expect(try await group.run(Self.key) { _ in value }.get() == value)
                let statistics = try await redis.command("INFO", "stats")
                let bytes = try #require(statistics.firstMatch(of: /total_net_input_bytes:([0-9]+)/)?.output.1)
                #expect(try #require(Int(bytes)) < 1 << 18)
            }
        }
    }

    // MARK: - With one

    @Test("are shared after all, if somebody begins to wait between the grant and the end")
    func joined() async throws {
        try await DeletingProxy.with { _, proxy in
            try await proxy.withStores { one, two in
                let (lead, follow) = (EnterRequest.make(try Self.flightKey()), EnterRequest.make(try Self.flightKey()))
                let (announcements, continuation) = AsyncStream.makeStream(of: Announcement.self)
                let registration = two.listen(for: follow.key) { event in
                    if case .announced(let announcement) = event { continuation.yield(announcement) }
                }
                defer { registration.cancel() }
                #expect(try await one.entered(lead) == .lead(attempt: 0))
                // The command is on its way when the other process comes.
                try await proxy.proxy.arm(.holdRequest, at: "DELIFEQ", on: .command)
                async let completed = one.completed(Self.complete(lead, [4, 2]))
                _ = try #require(try await proxy.proxy.struck(within: .seconds(30)))
                guard case .follow(lead.token, _) = try await two.entered(follow) else {
                    Issue.record("it does not follow")
                    return
                }
                try await proxy.proxy.letGo()
                #expect(try await completed == .accepted(waiters: 1))
                let poll = PollRequest(key: follow.key, token: lead.token)
                #expect(try await two.answer(to: poll).get() == .done(.value([4, 2])))
                #expect(proxy.count("DELIFEQ") == 1)
                // And one that is registered before the command is sent.
                let next = EnterRequest.make(try Self.flightKey())
                #expect(try await one.entered(next) == .lead(attempt: 0))
                _ = try await two.entered(follow)
                #expect(try await one.completed(Self.complete(next, [7])) == .accepted(waiters: 1))
                var heard = announcements.makeAsyncIterator()
                #expect(await heard.next() == Announcement(token: lead.token, news: .outcome(.value([4, 2]))))
                #expect(await heard.next() == Announcement(token: next.token, news: .outcome(.value([7]))))
            }
        }
    }

    @Test("are told from shared ones by a mark, which costs the lease no time, and which stays")
    func mark() async throws {
        try await DeletingProxy.with { redis, proxy in
            try await proxy.withStores { one, two in
                let key = try Self.flightKey()
                let lease = one.keyspace.names(of: key).lease
                let (lead, follow) = (
                    EnterRequest.make(key, leaderLoss: .takeOver(attempts: 3)), EnterRequest.make(key)
                )
                #expect(try await one.entered(lead) == .lead(attempt: 0))
                let granted = try await Self.value(redis, lease)
                let grantedNote = try await one.inspected(key).lease?.note
                #expect(granted.hasSuffix("}"))
                _ = try await two.entered(follow)
                #expect(try await Self.value(redis, lease) == granted + " ")
                let life = try await redis.command("PTTL", lease.description).dropFirst().dropLast()
                #expect((90_000...120_000).contains(try #require(Int(life))))
                // It is read as before.
                let marked = try await one.inspected(key)
                #expect(marked.lease?.note.label == grantedNote?.label)
                #expect(marked.lease?.note.progress == grantedNote?.progress)
                #expect(marked.waiters == [two.inbox])
                // Once, whatever else they do, and whoever leads on.
                let poll = PollRequest(key: key, token: lead.token)
                _ = try await two.answer(to: poll).get()
                #expect(try await Self.value(redis, lease) == granted + " ")
                let renew = RenewRequest(key: key, token: lead.token, terms: lead.terms, note: lead.note)
                #expect(try await one.answer(to: renew).get() == .renewed(waiters: 1))
                #expect(try await Self.value(redis, lease).hasSuffix("} "))
                let depend = DependRequest(
                    key: try FlightKey(group: "pages", bytes: [0x78]),
                    token: follow.token,
                    enclosing: [EnclosingFlight(key: key, token: lead.token)]
                )
                #expect(try await one.answer(to: depend).get() == .noted)
                #expect(try await Self.value(redis, lease).hasSuffix("} "))
                let release = ReleaseRequest(key: key, token: lead.token, mode: .handOver)
                #expect(try await one.answer(to: release).get() == .released(waiters: 1))
                #expect(try await Self.value(redis, lease).hasSuffix("} "))
                #expect(try await one.entered(EnterRequest.make(key)) == .lead(attempt: 1))
                #expect(try await Self.value(redis, lease).hasSuffix("} "))
            }
        }
    }

    @Test("end by the script, if somebody has waited and left again, or if their record was written anew")
    func changed() async throws {
        try await DeletingProxy.with { _, proxy in
            try await proxy.withStores { one, two in
                let key = try Self.flightKey()
                // Which command there is is known from now on.
                let first = EnterRequest.make(key)
                _ = try await one.entered(first)
                #expect(try await one.completed(Self.complete(first)) == .accepted(waiters: 0))
                let scripts = proxy.count("EVALSHA")

                let left = EnterRequest.make(key)
                _ = try await one.entered(left)
                _ = try await two.entered(EnterRequest.make(key))
                #expect(try await two.left(key, left.token).waiters == 0)
                #expect(try await one.completed(Self.complete(left)) == .accepted(waiters: 0))
                #expect(proxy.count("DELIFEQ") == 2)

                let renewed = EnterRequest.make(key)
                _ = try await one.entered(renewed)
                let renew = RenewRequest(key: key, token: renewed.token, terms: renewed.terms, note: renewed.note)
                _ = try await one.answer(to: renew).get()
                #expect(try await one.completed(Self.complete(renewed)) == .accepted(waiters: 0))
                #expect(proxy.count("DELIFEQ") == 2)

                let dependent = EnterRequest.make(key)
                _ = try await one.entered(dependent)
                let depend = DependRequest(
                    key: try FlightKey(group: "pages", bytes: [0x78]),
                    token: left.token,
                    enclosing: [EnclosingFlight(key: key, token: dependent.token)]
                )
                _ = try await one.answer(to: depend).get()
                #expect(try await one.completed(Self.complete(dependent)) == .accepted(waiters: 0))
                #expect(proxy.count("DELIFEQ") == 3)
                // The other's request, and leaving; the renewal; the dependence; and three completions.
                #expect(proxy.count("EVALSHA") == scripts + 7)
            }
        }
    }

    @Test("end the reuse of an earlier result, and are kept for reuse by the script")
    func reuse() async throws {
        try await DeletingProxy.with { redis, proxy in
            try await proxy.withStores { one, two in
                let key = try Self.flightKey()
                func enter(acceptsReuse: Bool) -> EnterRequest {
                    var request = EnterRequest.make(key)
                    request.terms.acceptsReuse = acceptsReuse
                    return request
                }
                let kept = enter(acceptsReuse: false)
                _ = try await one.entered(kept)
                let reply = try await one.completed(Self.complete(kept, [1], reuse: .seconds(60)))
                #expect(reply == .accepted(waiters: 0))
                #expect(proxy.count("DELIFEQ") == 0)
                let reused = try await two.entered(enter(acceptsReuse: true))
                #expect(Self.gives(reused, [1], of: kept.token))

                let latest = enter(acceptsReuse: false)
                _ = try await one.entered(latest)
                #expect(try await one.completed(Self.complete(latest, [2])) == .accepted(waiters: 0))
                #expect(proxy.count("DELIFEQ") == 1)
                #expect(try await redis.command("DBSIZE") == ":0\r\n")
                // What a later flight keeps is not for a lost leader to end.
                let lost = enter(acceptsReuse: false)
                guard case .lead = try await two.entered(enter(acceptsReuse: true)) else {
                    Issue.record("an older result is given")
                    return
                }
                _ = try await two.revoked(RevokeRequest(key: key, token: nil, by: "ops", reason: ""))
                #expect(try await one.entered(lost) == .lead(attempt: 0))
                _ = try await two.revoked(RevokeRequest(key: key, token: lost.token, by: "ops", reason: ""))
                let later = enter(acceptsReuse: false)
                #expect(try await two.entered(later) == .lead(attempt: 0))
                _ = try await two.completed(Self.complete(later, [3], reuse: .seconds(60)))
                guard case .stale = try await one.completed(Self.complete(lost, [4])) else {
                    Issue.record("a lost leader's result is accepted")
                    return
                }
                let last = try await two.entered(enter(acceptsReuse: true))
                #expect(Self.gives(last, [3], of: later.token))
            }
        }
    }

    @Test("end by the script where events are told")
    func events() async throws {
        try await DeletingProxy.with { _, proxy in
            let configuration = RedisLeaseStoreConfiguration(
                namespace: "test",
                commandTimeout: .seconds(10),
                publishesEvents: true
            )
            try await RedisLeaseStore.withConnection(to: proxy.url, configuration: configuration) { store in
                let group = try Self.group(store)
                for _ in 0..<3 { _ = try await group.run(Self.key) { _ in "" }.get() }
                #expect(proxy.count("DELIFEQ") == 0)
                #expect(proxy.count("EVALSHA") == 6)
            }
        }
    }

    // MARK: - Lost leases and lost answers

    @Test("are accepted past their lease's end, as long as nobody noticed, and refused when somebody else leads")
    func expired() async throws {
        try await DeletingProxy.with { _, proxy in
            try await proxy.withStores { one, two in
                let key = try Self.flightKey()
                let late = EnterRequest.make(key, lease: .milliseconds(100))
                _ = try await one.entered(late)
                try await until("the lease's end") { try await two.inspected(key).lease?.isExpired == true }
                #expect(try await one.completed(Self.complete(late)) == .accepted(waiters: 0))
                #expect(proxy.count("DELIFEQ") == 1)

                let lost = EnterRequest.make(key, lease: .milliseconds(100))
                _ = try await one.entered(lost)
                try await until("the lease's end") { try await two.inspected(key).lease?.isExpired == true }
                let next = EnterRequest.make(key)
                #expect(try await two.entered(next) == .lead(attempt: 0))
                let refused = try await one.completed(Self.complete(lost))
                #expect(refused == .stale(current: next.token, reason: .leaseExpired))
                #expect(try await two.completed(Self.complete(next)) == .accepted(waiters: 0))

                let gone = EnterRequest.make(key)
                _ = try await one.entered(gone)
                _ = try await two.revoked(RevokeRequest(key: key, token: gone.token, by: "ops", reason: "why"))
                let revoked = try await one.completed(Self.complete(gone))
                #expect(revoked == .stale(current: nil, reason: .revoked(by: "ops", reason: "why")))
            }
        }
    }

    @Test("are not taken for lost where the answer was: their repetition finds nothing, as behind the script's own")
    func lostAnswer() async throws {
        try await DeletingProxy.with { redis, proxy in
            try await proxy.withStores { one, _ in
                let enter = EnterRequest.make(try Self.flightKey())
                _ = try await one.entered(enter)
                try await proxy.proxy.arm(.cutBeforeReply, at: "DELIFEQ", on: .command)
                let answer = await one.answer(to: Self.complete(enter))
                guard case .failure(let error) = answer else {
                    Issue.record("\(answer)")
                    return
                }
                #expect(error.mayHaveExecuted)
                #expect(error.isTransient)
                #expect(try await redis.command("DBSIZE") == ":0\r\n")
                try await Self.untilBack(one, enter.key)
                #expect(try await one.completed(Self.complete(enter)) == .unknown(current: nil))
                #expect(proxy.count("DELIFEQ") == 1)

                // Callers get the value, and are told that the store's word on it is missing.
                try await proxy.proxy.arm(.cutBeforeReply, at: "DELIFEQ", on: .command)
                let configuration = DistributedGroupConfiguration(
                    lease: .init(duration: .seconds(60)),
                    unavailable: .runLocally
                )
                let group = try DistributedGroup<String, String>("pages", store: one, configuration: configuration)
                let outcome = await group.run("other") { _ in "value" }
                guard case .complete(let completion) = outcome else {
                    Issue.record("\(outcome)")
                    return
                }
                #expect(try completion.result.get() == "value")
                #expect(completion.coordination == .degraded)
            }
        }
    }

    @Test("end after all where the command was lost")
    func lostRequest() async throws {
        try await DeletingProxy.with { _, proxy in
            try await proxy.withStores { one, two in
                let enter = EnterRequest.make(try Self.flightKey())
                _ = try await one.entered(enter)
                try await proxy.proxy.arm(.cutBeforeRequest, at: "DELIFEQ", on: .command)
                let answer = await one.answer(to: Self.complete(enter))
                #expect(throws: LeaseStoreError.self) { try answer.get() }
                guard case .follow(enter.token, _) = try await two.entered(EnterRequest.make(enter.key)) else {
                    Issue.record("nobody leads")
                    return
                }
                try await Self.untilBack(one, enter.key)
                #expect(try await one.completed(Self.complete(enter, [3])) == .accepted(waiters: 1))
                let poll = PollRequest(key: enter.key, token: enter.token)
                #expect(try await two.answer(to: poll).get() == .done(.value([3])))
                // The first was not counted, for it did not arrive; the second went by script at once.
                #expect(proxy.count("DELIFEQ") == 0)
            }
        }
    }

    // MARK: - Beside the model

    @Test("are answered and announced as by the model, whatever else becomes of the key", arguments: [1, 2, 3])
    func model(_ seed: UInt64) async throws {
        try await DeletingProxy.with { _, proxy in
            try await proxy.withStores { one, two in
                let comparison = try await ModelComparison(stores: [one, two], keyCount: 3, seed: seed)
                for _ in 0..<1_000 {
                    let difference = try await comparison.step()
                    #expect(difference == nil)
                }
                let difference = try await comparison.compareAnnouncements()
                #expect(difference == nil)
                #expect(proxy.count("DELIFEQ") > 5)
            }
        }
    }
}
