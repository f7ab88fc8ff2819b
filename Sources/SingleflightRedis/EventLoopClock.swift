import Dispatch
import HiredisClient
import NIOCore
import SingleflightLease
import Synchronization

/// A lease clock whose calls are made on an event loop: one queue and one scheduled task for all flights of a store.
///
/// The time is `ContinuousClock`'s, which goes on while the machine is suspended. The event loop's timer may not: it
/// makes the queue look late, never early.
final class EventLoopClock: LeaseClock {
    /// Runs a task after a delay; what it returns prevents that if it still can.
    typealias Scheduler =
        @Sendable (_ delay: Duration, _ task: @escaping @Sendable () -> Void) -> @Sendable () -> Void

    private struct State {
        var queue = TimerQueue()
        var scheduler: Scheduler
        /// The earliest deadline that a task is scheduled for.
        var armed: LeaseInstant?
        /// Tells the task that counts from those that an earlier deadline overtook.
        var serial: UInt64 = 0
        var cancelTask: (@Sendable () -> Void)?
    }

    /// A task to schedule, and another to give up for it.
    private struct Arming {
        var deadline: LeaseInstant
        var serial: UInt64
        var scheduler: Scheduler
        var cancelOvertaken: (@Sendable () -> Void)?
    }

    private let origin = ContinuousClock.now
    private let state: Mutex<State>

    init(scheduler: @escaping Scheduler) {
        self.state = Mutex(State(scheduler: scheduler))
    }

    /// Calls are made on the event loop and, once that has ended, on a thread of the system's: limits hold all the
    /// same.
    convenience init(eventLoop: any EventLoop, end: EventLoopEnd) {
        self.init { delay, task in
            let scheduled = eventLoop.scheduleTask(in: TimeAmount(delay), task)
            return { scheduled.cancel() }
        }
        end.whenCome { [weak self] in self?.goOnWithoutEventLoop() }
    }

    var now: LeaseInstant {
        LeaseInstant(sinceOrigin: self.origin.duration(to: .now))
    }

    func schedule(at deadline: LeaseInstant, _ work: @escaping @Sendable () -> Void) -> LeaseTimer {
        let (timer, arming) = self.state.withLock { state in
            (state.queue.insert(at: deadline, work), Self.arm(&state, for: deadline))
        }
        self.scheduleTask(arming)
        return timer
    }

    func cancel(_ timer: LeaseTimer) {
        self.state.withLock { $0.queue.cancel(timer) }
    }

    /// The task to schedule for `deadline`, unless an earlier one is scheduled.
    private static func arm(_ state: inout State, for deadline: LeaseInstant) -> Arming? {
        if let armed = state.armed, armed <= deadline { return nil }
        state.armed = deadline
        state.serial += 1
        return Arming(
            deadline: deadline,
            serial: state.serial,
            scheduler: state.scheduler,
            cancelOvertaken: state.cancelTask.take()
        )
    }

    private func scheduleTask(_ arming: Arming?) {
        guard let arming else { return }
        arming.cancelOvertaken?()
        let delay = max(self.now.duration(to: arming.deadline), .zero)
        let cancel = arming.scheduler(delay) { self.taskFired(arming.serial) }
        let isOvertaken = self.state.withLock { state in
            guard state.serial == arming.serial else { return true }
            // A task that has fired already has nothing to prevent.
            if state.armed != nil { state.cancelTask = cancel }
            return false
        }
        if isOvertaken { cancel() }
    }

    private func taskFired(_ serial: UInt64) {
        let isOvertaken = self.state.withLock { state in
            guard state.serial == serial else { return true }
            state.armed = nil
            state.cancelTask = nil
            return false
        }
        // The task that overtook this one makes the calls. Were this one to arm another, too, there would be more and
        // more.
        if isOvertaken { return }
        let now = self.now
        while let work = self.state.withLock({ $0.queue.popDue(now: now) }) {
            work()
        }
        let arming = self.state.withLock { state in
            state.queue.nextDeadline().flatMap { Self.arm(&state, for: $0) }
        }
        self.scheduleTask(arming)
    }

    private func goOnWithoutEventLoop() {
        let arming = self.state.withLock { state -> Arming? in
            state.scheduler = Self.systemScheduler
            state.armed = nil
            state.cancelTask = nil
            // A task that the event loop took and never ran must not count as the one that does.
            state.serial += 1
            return state.queue.nextDeadline().flatMap { Self.arm(&state, for: $0) }
        }
        self.scheduleTask(arming)
    }

    private static let systemScheduler: Scheduler = { delay, task in
        // Rounded up: a task that comes early would only have to be scheduled again.
        DispatchQueue.global().asyncAfter(
            deadline: .now() + .nanoseconds(Int(TimeAmount(delay).nanoseconds) + 1),
            execute: task
        )
        // It comes to nothing once another one has overtaken it.
        return {}
    }
}
