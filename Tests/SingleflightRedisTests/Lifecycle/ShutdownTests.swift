import Foundation
import Logging
import ObservabilityTestSupport
import PrivateRedis
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import SingleflightRedis

@Suite("A store that shuts down under load", .usesServer, .timeLimit(.minutes(4)))
struct ShutdownTests {
    /// Eight callers, each of which begins flights until it is told that the process shuts down.
    private static func calls(_ group: DistributedGroup<String, String>, _ caller: Int) async -> [Outcome<String>] {
        await withTaskGroup(of: Outcome<String>.self) { tasks in
            for index in 0..<6 {
                tasks.addTask {
                    await group.run("key \(caller) \(index)") { _ in
                        // A gate of its own: a canceled wait opens its gate.
                        try await Gate("the operation of a store that shuts down").waitUnlessCanceled()
                        return "never"
                    }
                }
            }
            return await tasks.reduce(into: []) { $0.append($1) }
        }
    }

    private static func isShutDown(_ outcome: Outcome<String>) -> Bool {
        if case .canceled(.leaderShutDown) = outcome { true } else { false }
    }

    /// How often a store is shut down; `make soak` asks for a thousand.
    private static let tries = ProcessInfo.processInfo.environment["SINGLEFLIGHT_SHUTDOWNS"].flatMap(Int.init) ?? 200

    @Test("leaves no lease behind in some hundred tries, and tells every caller")
    func leavesNothing() async throws {
        try await PrivateRedis.with { redis in
            for attempt in 0..<Self.tries {
                let store = try RedisLeaseStore(
                    url: redis.url,
                    configuration: .init(namespace: "test", commandTimeout: .seconds(20))
                )
                try store.start()
                try await store.untilConnected()
                let group = try DistributedGroup<String, String>(
                    "pages",
                    store: store,
                    configuration: .init(lease: .init(duration: .seconds(60)))
                )
                let outcomes = await withTaskGroup(of: [Outcome<String>].self) { tasks in
                    for caller in 0..<8 { tasks.addTask { await Self.calls(group, caller) } }
                    for _ in 0..<(attempt % 40) { await Task.yield() }
                    await store.shutDown()
                    // Whatever the policy.
                    tasks.addTask { [await group.run("late") { _ in "never" }] }
                    return await tasks.reduce(into: []) { $0 += $1 }
                }
                let others = outcomes.filter { !Self.isShutDown($0) }
                #expect(others.isEmpty, "\(attempt): \(others)")
                let left = try await redis.command("KEYS", "sf2:*lease:*")
                guard left == "*0\r\n" else {
                    Issue.record("\(attempt): \(left)")
                    return
                }
            }
        }
    }

    /// A service with one request under way, which ends only after it was told to shut down.
    private struct App: Service {
        let group: DistributedGroup<String, String>
        let gate = Gate()
        let outcome: SharedOutcome

        func run() async throws {
            async let call = self.group.run("front") { _ in
                await self.gate.wait()
                return "value"
            }
            try? await gracefulShutdown()
            self.gate.open()
            await self.outcome.set(call)
        }
    }

    private actor SharedOutcome {
        var value: Outcome<String>?

        func set(_ value: Outcome<String>) { self.value = value }
    }

    @Test("in a ServiceGroup, [store, app] lets requests finish, and [app, store] ends them", arguments: [true, false])
    func orderOfServices(storeFirst: Bool) async throws {
        try await PrivateRedis.with { redis in
            let log = LogRecord()
            let store = try RedisLeaseStore(
                url: redis.url,
                configuration: .init(namespace: "test", commandTimeout: .seconds(10)),
                logger: log.logger
            )
            let group = try DistributedGroup<String, String>(
                "pages",
                store: store,
                configuration: .init(lease: .init(duration: .seconds(60)))
            )
            let app = App(group: group, outcome: SharedOutcome())
            let services: [any Service] = storeFirst ? [store, app] : [app, store]
            let process = ServiceGroup(
                configuration: .init(services: services, logger: Logger(label: "test"))
            )
            let life = Task { try await process.run() }
            await app.gate.untilArrived()
            await process.triggerGracefulShutdown()
            try await life.value
            let outcome = try #require(await app.outcome.value)
            let warnings = log.lines.filter { $0.level >= .warning }
            if storeFirst {
                #expect(try outcome.get() == "value")
                #expect(warnings.isEmpty)
            } else {
                #expect(Self.isShutDown(outcome), "\(outcome)")
                #expect(warnings.map(\.message) == ["the store shuts down under flights"])
                #expect(warnings.first?.metadata["sf_error"]?.contains("before the services that use it") == true)
            }
            #expect(try await redis.command("KEYS", "sf2:*lease:*") == "*0\r\n")
        }
    }
}
