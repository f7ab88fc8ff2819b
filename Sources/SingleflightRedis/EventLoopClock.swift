import NIOCore
import SingleflightLease
import Synchronization

/// A lease clock whose calls are made on an event loop: one queue and one scheduled task for all flights of a store.
///
/// The time is `ContinuousClock`'s, which goes on while the machine is suspended. The event loop's timer may not: it
/// makes the queue look late, never early.
final class EventLoopClock: LeaseClock {
    private struct State {
        var queue = TimerQueue()
        /// The earliest deadline that a task is scheduled for.
        var armed: LeaseInstant?
    }

    private let eventLoop: any EventLoop
    private let origin = ContinuousClock.now
    private let state = Mutex(State())

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    var now: LeaseInstant {
        LeaseInstant(sinceOrigin: self.origin.duration(to: .now))
    }

    func schedule(at deadline: LeaseInstant, _ work: @escaping @Sendable () -> Void) -> LeaseTimer {
        let (timer, mustArm) = self.state.withLock { state in
            (state.queue.insert(at: deadline, work), Self.arm(&state, for: deadline))
        }
        if mustArm {
            self.scheduleTask(at: deadline)
        }
        return timer
    }

    func cancel(_ timer: LeaseTimer) {
        self.state.withLock { $0.queue.cancel(timer) }
    }

    /// Whether a task must be scheduled for `deadline`. An obsolete later task is left to find nothing to do.
    private static func arm(_ state: inout State, for deadline: LeaseInstant) -> Bool {
        if let armed = state.armed, armed <= deadline { return false }
        state.armed = deadline
        return true
    }

    private func scheduleTask(at deadline: LeaseInstant) {
        let delay = max(self.now.duration(to: deadline), .zero)
        self.eventLoop.scheduleTask(in: TimeAmount(delay)) { self.taskFired() }
    }

    private func taskFired() {
        self.state.withLock { $0.armed = nil }
        let now = self.now
        while let work = self.state.withLock({ $0.queue.popDue(now: now) }) {
            work()
        }
        let next = self.state.withLock { state -> LeaseInstant? in
            guard let deadline = state.queue.nextDeadline(), Self.arm(&state, for: deadline) else { return nil }
            return deadline
        }
        if let next {
            self.scheduleTask(at: next)
        }
    }
}
