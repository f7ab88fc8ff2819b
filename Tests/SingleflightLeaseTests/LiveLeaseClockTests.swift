import SingleflightLease
import SingleflightTestKit
import Synchronization
import TestSupport
import Testing

@Suite("The clock that goes on by itself", .timeLimit(.minutes(4)))
struct LiveLeaseClockTests {
    @Test("calls are made in the order of their deadlines, none before its time, and a canceled one is not made")
    func order() async {
        let clock = LiveLeaseClock()
        let start = clock.now
        let (calls, call) = AsyncStream.makeStream(of: (name: Int, at: LeaseInstant).self)
        // What is scheduled first is far off: the others overtake it.
        let far = clock.schedule(at: start.advanced(by: .seconds(3600))) { call.yield((0, clock.now)) }
        for name in [3, 1, 4, 2] {
            let timer = clock.schedule(at: start.advanced(by: .milliseconds(10 * name))) {
                call.yield((name, clock.now))
                if name == 4 { call.finish() }
            }
            if name == 2 { clock.cancel(timer) }
        }
        var names: [Int] = []
        for await (name, instant) in calls {
            #expect(start.duration(to: instant) >= .milliseconds(10 * name))
            names.append(name)
        }
        #expect(names == [1, 3, 4])
        clock.cancel(far)
    }

    @Test("a call may schedule the next, also for a time that has passed")
    func chain() async {
        let clock = LiveLeaseClock()
        let left = Mutex(100)
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            @Sendable
            func step() {
                let remaining = left.withLock { left in
                    left -= 1
                    return left
                }
                guard remaining > 0 else { return continuation.resume() }
                _ = clock.schedule(at: clock.now, step)
            }
            _ = clock.schedule(at: clock.now, step)
        }
        #expect(left.withLock { $0 } == 0)
    }

    @Test("on a server that is made without a clock a flight whose leader fell silent is taken over")
    func takeover() async throws {
        let server = InMemoryLeaseServer()
        let stores = [InMemoryLeaseStore(server: server), InMemoryLeaseStore(server: server)]
        let groups = try [LostLeasePolicy.cancel, .leadAgain].enumerated().map { index, onLost in
            let configuration = DistributedGroupConfiguration(
                // The grace is long, and the follower leads again: it may get its turn late, and so late that what it
                // was granted is over.
                lease: .init(
                    duration: .seconds(1),
                    grace: .seconds(30),
                    leaderLoss: .takeOver(attempts: 100),
                    onLost: onLost
                )
            )
            return try DistributedGroup<String, Int>("silent", store: stores[index], configuration: configuration)
        }
        // What the first process sends from now on is lost, but for its first request.
        let operation = Gate("the operation of a leader that fell silent")
        async let first = groups[0].run("key") { _ in
            try await operation.waitUnlessCanceled()
            return 1
        }
        await operation.untilArrived()
        stores[0].onRequest { _ in .requestLost(LeaseStoreError(.unavailable, "cut off")) }
        let second = try await groups[1].value("key") { _ in 2 }
        #expect(second == 2)
        _ = await first
    }
}
