import HiredisClient
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import SingleflightRedis

@Suite("The clock of a store", .timeLimit(.minutes(4)))
struct EventLoopClockTests {
    /// Runs tasks when it is told to, whatever their delay.
    private final class ManualScheduler: Sendable {
        private let tasks = Mutex<(next: Int, pending: [Int: @Sendable () -> Void])>((0, [:]))

        var pending: Int { self.tasks.withLock { $0.pending.count } }

        var scheduler: EventLoopClock.Scheduler {
            { _, task in
                let id = self.tasks.withLock { tasks in
                    tasks.next += 1
                    tasks.pending[tasks.next] = task
                    return tasks.next
                }
                return { self.tasks.withLock { tasks in tasks.pending[id] = nil } }
            }
        }

        func fire() {
            let tasks = self.tasks.withLock { tasks in
                defer { tasks.pending = [:] }
                return tasks.pending
            }
            for task in tasks.values { task() }
        }
    }

    @Test("arms one task, however many short flights overtake a long one, and leaves one for what is left")
    func oneTask() {
        let tasks = ManualScheduler()
        let clock = EventLoopClock(scheduler: tasks.scheduler)
        let start = clock.now
        let long = clock.schedule(at: start.advanced(by: .seconds(600)), {})
        for index in 1...1_000 {
            let short = clock.schedule(at: start.advanced(by: .seconds(600) - .milliseconds(index))) {}
            #expect(tasks.pending == 1)
            if index.isMultiple(of: 2) { clock.cancel(short) }
        }
        // They come too early, find nothing to do, and arm the next.
        for _ in 0..<10 {
            tasks.fire()
            #expect(tasks.pending == 1)
        }
        clock.cancel(long)
    }

    @Test("a task that was overtaken and fires all the same changes nothing")
    func overtaken() {
        let fired = Mutex<[@Sendable () -> Void]>([])
        // It cannot cancel.
        let clock = EventLoopClock { _, task in
            fired.withLock { $0.append(task) }
            return {}
        }
        let start = clock.now
        _ = clock.schedule(at: start.advanced(by: .seconds(600)), {})
        _ = clock.schedule(at: start.advanced(by: .seconds(500)), {})
        let tasks = fired.withLock { $0 }
        tasks[0]()
        #expect(fired.withLock { $0.count } == 2)
        tasks[1]()
        #expect(fired.withLock { $0.count } == 3)
    }

    @Test("makes its calls in the order of their deadlines, also those that came last")
    func order() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let clock = EventLoopClock(eventLoop: loop, end: EventLoopEnd(of: loop))
        let calls = Mutex<[Int]>([])
        let start = clock.now
        for milliseconds in [90, 60, 30] {
            _ = clock.schedule(at: start.advanced(by: .milliseconds(milliseconds))) {
                calls.withLock { $0.append(milliseconds) }
            }
        }
        try await until("three calls") { calls.withLock { $0.count } == 3 }
        #expect(calls.withLock { $0 } == [30, 60, 90])
        try await group.shutdownGracefully()
    }

    @Test("makes its calls also when its event loop has ended before")
    func eventLoopEnds() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let end = EventLoopEnd(of: loop)
        let clock = EventLoopClock(eventLoop: loop, end: end)
        let calls = Counter()
        _ = clock.schedule(at: clock.now.advanced(by: .milliseconds(100))) { calls.increment() }
        try await group.shutdownGracefully()
        #expect(end.hasCome)
        _ = clock.schedule(at: clock.now.advanced(by: .milliseconds(50))) { calls.increment() }
        try await until("both calls") { calls.value == 2 }
    }
}
