import Foundation
import PrivateRedis
import SingleflightRedis
import TestSupport
import Testing

/// Redis counts times to live by the wall clock of its machine, and draws fences from it. Here that clock jumps.
@Suite("A server whose clock jumps", .usesServer, .timeLimit(.minutes(3)))
struct ClockFaultTests {
    private static func group(
        _ store: RedisLeaseStore,
        _ leaderLoss: LeaderLossPolicy = .cancel
    ) throws -> DistributedGroup<String, String> {
        let configuration = DistributedGroupConfiguration(
            lease: .init(duration: .seconds(9), grace: .seconds(2), leaderLoss: leaderLoss),
            unavailable: .fail
        )
        return try DistributedGroup("pages", store: store, configuration: configuration)
    }

    private static func fence(_ group: DistributedGroup<String, String>) async throws -> Fence {
        let text = try await group.value("front") { flight in "\(try await flight.fence())" }
        return Fence(rawValue: try #require(UInt64(text)))
    }

    @Test("draws greater fences all the same, ahead, back, and back by a day")
    func fencesIncrease() async throws {
        try await ShiftedClock.with { redis, clock in
            try await withTwoStores(redis, commandTimeout: .seconds(3)) { one, two in
                let groups = [try Self.group(one), try Self.group(two)]
                var last = Fence(rawValue: 0)
                for (index, shift) in [0, 60, -60, 3_600, -3_600, -86_400, 0].enumerated() {
                    try clock.move(to: .seconds(shift))
                    let fence = try await Self.fence(groups[index % 2])
                    #expect(fence > last, "at \(shift) s")
                    last = fence
                }
            }
        }
    }

    /// Before a process told Redis the greatest fence it was given, a lost counter and a clock set back made the next one lower
    /// than the last, and nobody noticed.
    @Test(
        "draws a greater fence for a process that was given one, even when it has lost its data and its clock was set back"
    )
    func seenFenceCounts() async throws {
        try await ShiftedClock.with { redis, clock in
            try await withTwoStores(redis, commandTimeout: .seconds(3)) { one, two in
                let (here, there) = (try Self.group(one), try Self.group(two))
                let before = try await Self.fence(here)
                try await redis.command("FLUSHALL")
                try clock.move(to: .seconds(-3_600))
                #expect(try await Self.fence(here) > before)
                // And with it the counter is as high again as it was, for everybody.
                #expect(try await Self.fence(there) > before)
            }
        }
    }

    @Test("ends every lease when it jumps ahead: the leader, its follower and the next caller are told so")
    func ahead() async throws {
        try await ShiftedClock.with { redis, clock in
            try await withTwoStores(redis, commandTimeout: .seconds(3)) { one, two in
                let (here, there) = (try Self.group(one), try Self.group(two))
                let gate = Gate()
                let leader = Task {
                    await here.run("front") { flight in
                        let fence = try await flight.fence()
                        await gate.wait()
                        return "\(fence)"
                    }
                }
                await gate.untilArrived()
                let follower = Task { await there.run("front") { _ in "another" } }
                try await one.untilWaiters(1, group: "pages", key: "front")
                try clock.move(to: .seconds(3_600))

                guard case .canceled(.leaseLost) = await leader.value else {
                    Issue.record("the leader was not told")
                    return
                }
                guard case .canceled(.storeLostFlight) = await follower.value else {
                    Issue.record("the follower was not told")
                    return
                }
                gate.open()
                #expect(try await there.value("front") { _ in "afresh" } == "afresh")
            }
        }
    }

    /// Before scripts cut what a key has too long to live, a clock that went back by an hour kept the followers of a leader
    /// that had died waiting for that hour.
    @Test("does not prolong the lease of a leader that has died when it goes back")
    func back() async throws {
        try await ShiftedClock.with { redis, clock in
            try await withTwoStores(redis, commandTimeout: .seconds(3)) { one, two in
                let key = try FlightKey(group: "pages", bytes: Array("front".utf8))
                let granted = try await one.entered(.make(key, lease: .seconds(2)))
                #expect(granted == .lead(attempt: 0))
                let there = try Self.group(two)
                let began = ContinuousClock.now
                let follower = Task { await there.run("front", waitingAtMost: .seconds(40)) { _ in "another" } }
                try await one.untilWaiters(1, group: "pages", key: "front")
                try clock.move(to: .seconds(-3_600))

                guard case .canceled(.leaseExpired) = await follower.value else {
                    Issue.record("the follower was not told")
                    return
                }
                // Two leases: the rest of the one it was told of first, and a whole one that began when it asked again.
                #expect(ContinuousClock.now - began < .seconds(20))
            }
        }
    }

    @Test("lets a flight go on, and share its value, through jumps back and forth that are shorter than its lease")
    func small() async throws {
        try await ShiftedClock.with { redis, clock in
            try await withTwoStores(redis, commandTimeout: .seconds(3)) { one, two in
                let (here, there) = (try Self.group(one), try Self.group(two))
                let gate = Gate()
                async let led = here.value("front") { _ in
                    await gate.wait()
                    return "value"
                }
                await gate.untilArrived()
                async let followed = there.value("front") { _ in "another" }
                try await one.untilWaiters(1, group: "pages", key: "front")
                for shift in [500, -500, 400, 0] { try clock.move(to: .milliseconds(shift)) }
                gate.open()
                let values = try await [led, followed]
                #expect(values == ["value", "value"])
            }
        }
    }

    /// A client's wall clock can jump as it likes: it is read for what people see, and nowhere else.
    @Test("is the only wall clock there is: that of a process is read for display only")
    func clients() throws {
        let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Sources")
        for module in ["Singleflight", "SingleflightLease", "SingleflightRedis", "HiredisClient"] {
            let folder = sources.appending(path: module)
            let files = try FileManager.default.subpathsOfDirectory(atPath: folder.path).filter {
                $0.hasSuffix(".swift")
            }
            try #require(!files.isEmpty)
            for file in files where !file.hasSuffix("LeaseRecord+Conversion.swift") {
                let text = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
                for word in [
                    "Date()", "Date.now", "gettimeofday", "CLOCK_REALTIME", "time(nil)", "SuspendingClock",
                    "CLOCK_MONOTONIC",
                ] {
                    #expect(!text.contains(word), "\(module)/\(file) uses \(word)")
                }
            }
        }
    }
}
