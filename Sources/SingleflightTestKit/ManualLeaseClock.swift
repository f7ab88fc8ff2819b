public import SingleflightLease
import Synchronization

/// A clock that a test moves by hand.
///
/// Time stands still until ``advance(by:)`` moves it; timers fire inside of that call, in the order of their deadlines,
/// each at exactly its deadline. One for a time that is over fires as it is set: else it would be waited for in vain
/// where one thread read the clock before another one moved it for the last time.
public final class ManualLeaseClock: LeaseClock {
    private struct State {
        var now = LeaseInstant(sinceOrigin: .zero)
        var timers = TimerQueue()
        /// The tasks that wait for a number of scheduled calls.
        var waiters = ConditionWaiters<Int>()
        /// The same for the number of all calls that ever were scheduled.
        var scheduledInAll = 0
        var waitersInAll = ConditionWaiters<Int>()
    }

    private let state = Mutex(State())

    /// Creates a clock that stands at its origin.
    public init() {}

    /// Where the clock stands.
    public var now: LeaseInstant { self.state.withLock { $0.now } }

    /// The number of calls that are scheduled.
    public var timerCount: Int { self.state.withLock { $0.timers.count } }

    /// The deadline of the next scheduled call.
    public var nextDeadline: LeaseInstant? { self.state.withLock { $0.timers.nextDeadline() } }

    /// Schedules a call; it is made by ``advance(by:)``, or at once if its time is over.
    public func schedule(at deadline: LeaseInstant, _ work: @escaping @Sendable () -> Void) -> LeaseTimer {
        let (timer, isOverdue, satisfied, satisfiedInAll) = self.state.withLock { state in
            let timer = state.timers.insert(at: deadline, work)
            state.scheduledInAll += 1
            return (
                timer, deadline < state.now, state.waiters.takeSatisfied(by: state.timers.count),
                state.waitersInAll.takeSatisfied(by: state.scheduledInAll)
            )
        }
        satisfied.resume()
        satisfiedInAll.resume()
        while isOverdue, let work = self.takeDue(until: deadline) {
            work()
        }
        return timer
    }

    /// Forgets a scheduled call.
    public func cancel(_ timer: LeaseTimer) {
        let satisfied = self.state.withLock { state in
            state.timers.cancel(timer)
            return state.waiters.takeSatisfied(by: state.timers.count)
        }
        satisfied.resume()
    }

    /// Moves the clock, and makes the calls that become due on the way, those included that they schedule in turn.
    public func advance(by duration: Duration) {
        let end = self.now.advanced(by: duration)
        while let work = self.takeDue(until: end) {
            work()
        }
        self.state.withLock { $0.now = max($0.now, end) }
    }

    /// Waits until at least `count` calls are scheduled.
    public func untilScheduled(_ count: Int = 1) async {
        await self.until { $0 >= count }
    }

    /// Waits until no call is scheduled because the last one was canceled.
    public func untilIdle() async {
        await self.until { $0 == 0 }
    }

    private func until(_ condition: @escaping @Sendable (Int) -> Bool) async {
        await withCancelableContinuation { continuation in
            let satisfied = self.state.withLock { state in
                state.waiters.add(continuation, until: condition)
                return state.waiters.takeSatisfied(by: state.timers.count)
            }
            satisfied.resume()
        }
    }

    /// Waits until at least `count` calls were ever scheduled.
    public func untilScheduled(inAll count: Int) async {
        await withCancelableContinuation { continuation in
            let satisfied = self.state.withLock { state in
                state.waitersInAll.add(continuation) { $0 >= count }
                return state.waitersInAll.takeSatisfied(by: state.scheduledInAll)
            }
            satisfied.resume()
        }
    }

    private func takeDue(until end: LeaseInstant) -> TimerQueue.Work? {
        self.state.withLock { state in
            guard let deadline = state.timers.nextDeadline(), deadline <= end else { return nil }
            state.now = max(state.now, deadline)
            return state.timers.popDue(now: state.now)
        }
    }
}
