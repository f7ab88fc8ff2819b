import Logging
import NIOCore
import NIOPosix
import ObservabilityTestSupport
import PrivateRedis
import TestSupport
import Testing

@testable import SingleflightRedis

@Suite("The life of a store", .usesServer, .timeLimit(.minutes(4)))
struct StoreLifeTests {
    private let log = LogRecord()

    private static func group(
        _ store: RedisLeaseStore,
        _ unavailable: UnavailablePolicy
    ) throws -> DistributedGroup<String, String> {
        try DistributedGroup(
            "pages",
            store: store,
            configuration: .init(lease: .init(duration: .seconds(60)), unavailable: unavailable)
        )
    }

    private static func error(_ outcome: Outcome<String>) -> DistributedGroupError? {
        guard case .complete(let completion) = outcome, case .failure(let error) = completion.result else { return nil }
        return error as? DistributedGroupError
    }

    @Test("a store that nobody runs says so, in the error and in one warning")
    func neverRun() async throws {
        let store = try RedisLeaseStore(
            url: "redis://127.0.0.1:1",
            configuration: .init(commandTimeout: .milliseconds(100)),
            logger: self.log.logger
        )
        let group = try Self.group(store, .fail)
        for _ in 0..<5 {
            let error = Self.error(await group.run("front") { _ in "never" })
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("run() of the store was never called") == true, "\(error as Any)")
        }
        let warnings = self.log.lines.filter { $0.level >= .warning }
        #expect(warnings.map(\.message) == ["the store does not run"])
        #expect(warnings.first?.metadata["sf_error"]?.contains("ServiceGroup") == true)
    }

    @Test("a store runs once: not twice at a time, and not again")
    func runsOnce() async throws {
        try await PrivateRedis.with { redis in
            let store = try RedisLeaseStore(url: redis.url, configuration: .init(commandTimeout: .seconds(10)))
            let life = Task { try await store.run() }
            try await until("a connection") { (try? await store.untilConnected()) != nil }
            let second = await #expect(throws: LeaseStoreError.self) { try await store.run() }
            #expect(second?.code == .invalidRequest)
            try await store.untilConnected()
            life.cancel()
            _ = await life.result
            let third = await #expect(throws: LeaseStoreError.self) { try await store.run() }
            #expect(third?.code == .shutDown)
        }
    }

    @Test("the default logger warns, and does no more")
    func defaultLogger() {
        #expect(RedisLeaseStore.defaultLogger.logLevel == .warning)
    }

    @Test("a wrong password is no outage: it is hidden only if asked")
    func wrongPassword() async throws {
        try await PrivateRedis.with(.init(password: "right")) { redis in
            let store = try RedisLeaseStore(
                url: redis.url.replacing("right", with: "wrong"),
                configuration: .init(commandTimeout: .seconds(10)),
                logger: self.log.logger
            )
            let life = Task { try await store.run() }
            for policy in [UnavailablePolicy.runLocally, .fail] {
                let error = Self.error(await (try Self.group(store, policy)).run("front") { _ in "hidden" })
                #expect(error?.code == .refused)
                #expect(error?.message.contains("check user and password") == true, "\(error as Any)")
            }
            let hidden = try await Self.group(store, .runLocallyEvenIfRefused).value("front") { _ in "hidden" }
            #expect(hidden == "hidden")
            guard case .leader = try await Self.group(store, .runLocallyEvenIfRefused).entry("front") else {
                Issue.record("leads without a lease")
                return
            }
            #expect(self.log.lines.contains { $0.message == "redis refuses a request" && $0.level == .warning })
            life.cancel()
            _ = await life.result
        }
    }

    @Test("every script is known before anything is asked")
    func scriptsAreLoaded() async throws {
        try await PrivateRedis.with { redis in
            try await RedisLeaseStore.withConnection(to: redis.url) { _ in
                for script in LeaseScripts.named {
                    let exists = try await redis.command("SCRIPT", "EXISTS", script.hash)
                    #expect(exists == "*1\r\n:1\r\n", "\(script.name)")
                }
            }
        }
    }

    @Test("calls end with an error when the event loop ends before the store, and limits hold")
    func eventLoopEnds() async throws {
        try await PrivateRedis.with { redis in
            let eventLoops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let store = try RedisLeaseStore(
                url: redis.url,
                configuration: .init(commandTimeout: .seconds(10)),
                eventLoopGroup: eventLoops,
                logger: self.log.logger
            )
            let life = Task { try await store.run() }
            let group = try Self.group(store, .runLocally)
            let gate = Gate()
            let led = Task {
                await group.run("front") { _ in
                    await gate.wait()
                    return "value"
                }
            }
            await gate.untilArrived()
            try await eventLoops.shutdownGracefully()
            guard case .canceled(.leaderShutDown) = await led.value else {
                Issue.record("\(await led.value)")
                return
            }
            gate.open()
            guard case .canceled(.leaderShutDown) = await group.run("front", operation: { _ in "never" }) else {
                Issue.record("a call after the end")
                return
            }
            // It waits on the store's clock.
            let limited = Task {
                await group.run("other", waitingAtMost: .milliseconds(50)) { _ in "never" }
            }
            guard case .canceled = await limited.value else {
                Issue.record("\(await limited.value)")
                return
            }
            let fenced = await store.answer(to: InspectRequest(key: try FlightKey(group: "pages", bytes: [1])))
            #expect(throws: LeaseStoreError.self) { try fenced.get() }
            await #expect(throws: LeaseStoreError.self) { try await store.untilConnected() }
            life.cancel()
            _ = await life.result
        }
    }
}
