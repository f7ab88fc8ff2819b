public import SingleflightLease
import Synchronization

/// A clock that goes on by itself: for tests of code that uses a group, where nobody moves the time by hand.
///
/// It counts as `ContinuousClock` does. What is scheduled is called by a task, one call after the other.
public final class LiveLeaseClock: LeaseClock {
    private struct State {
        var timers = TimerQueue()
        /// The one task that sleeps, and until when.
        var armed: (deadline: LeaseInstant, task: Task<Void, Never>)?
    }

    private let origin = ContinuousClock.now
    private let state = Mutex(State())

    /// Creates a clock; its time begins now.
    public init() {}

    /// The time since the clock was made.
    public var now: LeaseInstant { LeaseInstant(sinceOrigin: self.origin.duration(to: .now)) }

    /// Schedules a call.
    public func schedule(at deadline: LeaseInstant, _ work: @escaping @Sendable () -> Void) -> LeaseTimer {
        self.state.withLock { state in
            let timer = state.timers.insert(at: deadline, work)
            self.arm(&state)
            return timer
        }
    }

    /// Forgets a scheduled call.
    public func cancel(_ timer: LeaseTimer) {
        // The task that may sleep for it finds nothing to do, or the next call.
        self.state.withLock { $0.timers.cancel(timer) }
    }

    /// Sees to it that one task sleeps until the next deadline.
    private func arm(_ state: inout State) {
        guard let next = state.timers.nextDeadline() else { return }
        if let armed = state.armed, armed.deadline <= next { return }
        state.armed?.task.cancel()
        let wake = self.origin.advanced(by: next.sinceOrigin)
        // Detached: what a caller has bound to its task is no business of the calls that its timer leads to.
        let task = Task.detached(priority: .high) { [weak self] in
            guard (try? await Task.sleep(until: wake, clock: .continuous)) != nil else { return }
            self?.fire(next)
        }
        state.armed = (next, task)
    }

    /// - Parameter deadline: until when the task slept.
    private func fire(_ deadline: LeaseInstant) {
        while let work = self.state.withLock({ $0.timers.popDue(now: self.now) }) {
            work()
        }
        self.state.withLock { state in
            if state.armed?.deadline == deadline {
                state.armed = nil
            }
            self.arm(&state)
        }
    }
}
