import PrivateRedis
import SingleflightLease
import Synchronization
import TestSupport
import Testing

@testable import SingleflightRedis

/// A Redis that goes away in mid-flight, and comes back empty or not at all, costs no caller its result.
@Suite("A Redis that restarts empty in mid-flight", .usesServer, .timeLimit(.minutes(5)))
struct RestartTests {
    private let operation = Gate("the operation")

    private struct Flights {
        var redis: PrivateRedis
        var leading: DistributedGroup<String, String>
        var following: DistributedGroup<String, String>
        var leader: Task<Outcome<String>, Never>
        var follower: Task<Outcome<String>, Never>
        var flight: Flight<String>
    }

    /// A flight that one process leads and another follows.
    private func withFlights(
        commandTimeout: Duration,
        lease: Duration,
        follower unavailable: UnavailablePolicy = .runLocally,
        _ body: (Flights) async throws -> Void
    ) async throws {
        try await PrivateRedis.with { redis in
            try await withTwoStores(redis, commandTimeout: commandTimeout) { one, two in
                let configuration = DistributedGroupConfiguration(lease: .init(duration: lease))
                let groups = try [one, two].map {
                    try DistributedGroup<String, String>("pages", store: $0, configuration: configuration)
                }
                let (leading, following) = (groups[0], groups[1])
                let flight = Mutex<Flight<String>?>(nil)
                let operation = self.operation
                let leader = Task {
                    await leading.run("front") { running in
                        flight.withLock { $0 = running }
                        await operation.wait()
                        return "led"
                    }
                }
                await operation.untilArrived()
                let follower = Task { await following.run("front", unavailable: unavailable) { _ in "own" } }
                try await one.untilWaiters(1, group: "pages", key: "front")
                try await body(
                    Flights(
                        redis: redis,
                        leading: leading,
                        following: following,
                        leader: leader,
                        follower: follower,
                        flight: try #require(flight.withLock { $0 })
                    )
                )
            }
        }
    }

    private func value(_ outcome: Outcome<String>) throws -> String {
        try outcome.get()
    }

    @Test("the leader goes on under another lease, and everybody gets a result")
    func restart() async throws {
        try await self.withFlights(commandTimeout: .seconds(5), lease: .seconds(15)) { flights in
            let token = flights.flight.token
            try await flights.redis.restart()
            let isOver = Mutex(false)
            Task {
                _ = await flights.follower.value
                isOver.withLock { $0 = true }
            }
            // On a machine that is busy enough the follower comes first, and leads itself.
            try await until("somebody leads again") { flights.flight.token != token || isOver.withLock { $0 } }
            self.operation.open()
            for outcome in [await flights.leader.value, await flights.follower.value] {
                let value = try self.value(outcome)
                #expect(["led", "own"].contains(value))
            }
        }
    }

    @Test("a leader's work outlives its lease while Redis is away, and its callers get what it brings")
    func longOutage() async throws {
        try await self.withFlights(commandTimeout: .seconds(1), lease: .seconds(3)) { flights in
            await flights.redis.kill()
            try await until("the lease is over") { !flights.flight.isCurrent }
            self.operation.open()
            guard case .complete(let completion) = await flights.leader.value else {
                Issue.record("no result")
                return
            }
            #expect(try completion.result.get() == "led")
            #expect(completion.coordination == .degraded)
            // It could not ask, and ran its own operation.
            let own = try self.value(await flights.follower.value)
            #expect(own == "own")
        }
    }

    @Test("a follower that is to fail without Redis is told long before the lease's end")
    func followerFails() async throws {
        let lease = Duration.seconds(90)
        try await self.withFlights(commandTimeout: .seconds(1), lease: lease, follower: .fail) { flights in
            let start = ContinuousClock.now
            await flights.redis.kill()
            let outcome = await flights.follower.value
            let error = #expect(throws: DistributedGroupError.self) { try self.value(outcome) }
            #expect(error?.code == .unavailable)
            #expect(start.duration(to: .now) < lease / 3)
            self.operation.open()
            let led = try self.value(await flights.leader.value)
            #expect(led == "led")
        }
    }
}
