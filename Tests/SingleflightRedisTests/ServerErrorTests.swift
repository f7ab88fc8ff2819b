import HiredisClient
import PrivateRedis
import SingleflightLease
import TestSupport
import Testing

@testable import SingleflightRedis

/// What a server's error means to a caller: what kind of failure it is, and what to do about it.
@Suite("A server's error", .usesServer, .timeLimit(.minutes(4)))
struct ServerErrorTests {
    struct Sample: Sendable, CustomTestStringConvertible {
        var message: String
        var code: LeaseStoreError.Code
        var advice: String

        init(_ message: String, _ code: LeaseStoreError.Code, _ advice: String) {
            self.message = message
            self.code = code
            self.advice = advice
        }

        var testDescription: String { self.message }
    }

    @Test(
        "is told by its kind, in the server's words, with advice",
        arguments: [
            Sample("OOM command not allowed when used memory > 'maxmemory'.", .unavailable, "raise maxmemory"),
            Sample("READONLY You can't write against a read only replica.", .unavailable, "primary"),
            Sample("MASTERDOWN Link with MASTER is down", .unavailable, "primary"),
            Sample("LOADING Redis is loading the dataset in memory", .unavailable, "wait"),
            Sample("BUSY Redis is busy running a script.", .unavailable, "SCRIPT KILL"),
            Sample("MISCONF Redis is configured to save RDB snapshots", .unavailable, "disk"),
            Sample("NOREPLICAS Not enough good replicas to write.", .unavailable, "min-replicas-to-write"),
            Sample("CLUSTERDOWN Hash slot not served", .unavailable, "CLUSTER INFO"),
            Sample("TRYAGAIN Multiple keys request during rehashing of slot", .unavailable, ""),
            Sample("NOAUTH Authentication required.", .refused, "password"),
            Sample("WRONGPASS invalid username-password pair or user is disabled.", .refused, "password"),
            Sample("NOPERM this user has no permissions to run the 'set' command", .refused, "doctor"),
            Sample("ERR The user executing the script can't access the keys", .refused, "doctor"),
            Sample(
                "ERR ACL failure in script: User u has no permissions to run the 'hset' command script",
                .refused,
                "doctor"
            ),
            Sample(
                "ERR Error running script (call to f_1): @user_script:3: @user_script: 3: "
                    + "The user executing the script can't run this command or subcommand",
                .refused,
                "doctor"
            ),
            Sample("ERR unknown subcommand 'SETNAME'. Try CLIENT HELP.", .refused, "no such command"),
            Sample("DENIED Redis is running in protected mode", .refused, "set a password"),
            Sample("ERR unknown command 'EVALSHA', with args beginning with: ", .refused, "renamed"),
            Sample("ERR Protocol error: invalid bulk length", .invalidRequest, "proto-max-bulk-len"),
            Sample("WRONGTYPE Operation against a key holding the wrong kind of value", .invalidRequest, ""),
        ]
    )
    func classification(sample: Sample) {
        let error = LeaseStoreError(RedisClientError.server(RedisServerError(message: sample.message)))
        #expect(error.code == sample.code)
        #expect(error.message.contains(sample.message))
        #expect(error.message.contains(sample.advice))
        #expect(error.isTransient == (sample.code == .unavailable))
    }

    @Test("of any length makes a message of a bounded one, without control characters")
    func bounded() {
        let error = LeaseStoreError(
            RedisClientError.server(
                RedisServerError(message: "ERR \u{1B}[2J\n" + String(repeating: "é", count: 60_000))
            )
        )
        #expect(error.message.utf8.count < 2_000)
        #expect(!error.message.unicodeScalars.contains { $0.value < 32 || $0.value == 127 })
    }

    private static func completion(
        _ redis: PrivateRedis,
        value: String = "value"
    ) async throws -> LeaseStoreError? {
        try await RedisLeaseStore.withConnection(to: redis.url) { store in
            let group = try DistributedGroup<String, String>(
                "pages",
                store: store,
                configuration: .init(lease: .init(duration: .seconds(3)), unavailable: .fail)
            )
            guard case .complete(let completion) = await group.run("front", operation: { _ in value }),
                case .failure(let error) = completion.result
            else { return nil }
            return (error as? DistributedGroupError)?.underlying as? LeaseStoreError
        }
    }

    @Test("of a server whose script commands were renamed away says that there is no such command")
    func renamedCommands() async throws {
        let lines = ["rename-command EVALSHA \"\"", "rename-command EVAL \"\""]
        let error = try await PrivateRedis.with(.init(extraLines: lines)) { try await Self.completion($0) }
        #expect(error?.code == .refused)
        #expect(error?.message.contains("unknown command") == true, "\(String(describing: error))")
        #expect(error?.message.contains("renamed") == true)
    }

    @Test("of a server without the URL's database names the database")
    func databaseIndex() async throws {
        try await PrivateRedis.with { redis in
            let error = await #expect(throws: LeaseStoreError.self) {
                try await RedisLeaseStore.withConnection(to: redis.url + "?db=99") { _ in }
            }
            #expect(error?.code == .invalidRequest)
            #expect(error?.message.contains("database 99 cannot be selected") == true)
            #expect(error?.message.contains("DB index is out of range") == true)
            #expect(error?.message.contains("the URL names a database") == true)
        }
    }

    @Test("of a result that the server does not take is told to the leader, and its followers do not wait for it")
    func tooLargeForTheServer() async throws {
        let lines = ["proto-max-bulk-len 1mb"]
        try await PrivateRedis.with(.init(extraLines: lines)) { redis in
            try await withTwoStores(redis) { one, two in
                let configuration = DistributedGroupConfiguration(
                    lease: .init(duration: .seconds(60)),
                    unavailable: .fail
                )
                let here = try DistributedGroup<String, String>("pages", store: one, configuration: configuration)
                let there = try DistributedGroup<String, String>("pages", store: two, configuration: configuration)
                let gate = Gate()
                let leader = Task {
                    await here.run("front") { _ in
                        await gate.wait()
                        return String(repeating: "x", count: 2 << 20)
                    }
                }
                await gate.untilArrived()
                let follower = Task { await there.run("front") { _ in "another" } }
                try await one.untilWaiters(1, group: "pages", key: "front")
                gate.open()
                guard case .failed(let error) = Answer(await leader.value) else {
                    Issue.record("the leader was told nothing")
                    return
                }
                #expect(error.code == .invalidRequest)
                #expect(error.message.contains("proto-max-bulk-len"))
                guard case .canceled = await follower.value else {
                    Issue.record("the follower got something")
                    return
                }
            }
        }
    }
}
