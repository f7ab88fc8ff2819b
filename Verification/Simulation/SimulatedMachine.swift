package import SingleflightLease

/// A process's machine in a simulation: it runs, is paused for a while, or is dead for good.
///
/// Whatever reaches the process from outside goes through ``execute(_:)``.
package final class SimulatedMachine {
    /// The machine's own clock.
    package let clock: SimulatedClock
    /// Whether the process has not crashed.
    package private(set) var isAlive = true

    package let scheduler: SimulatedScheduler
    package private(set) var isPaused = false
    /// The latest time at which something went wrong for this process: before that nothing is promised in time.
    package private(set) var disturbedUntil: LeaseInstant
    private var pause = 0
    private var backlog: [() -> Void] = []

    /// Creates a running machine whose clock shows `offset` now, and runs at `rate` times the true speed.
    package init(scheduler: SimulatedScheduler, offset: Duration = .zero, rate: Double = 1) {
        self.scheduler = scheduler
        self.disturbedUntil = scheduler.now
        self.clock = SimulatedClock(scheduler: scheduler, offset: offset, rate: rate)
        self.clock.run = { [unowned self] in self.execute($0) }
    }

    /// Lets the process do something: at once, after its pause, or never, if it is dead.
    package func execute(_ work: @escaping () -> Void) {
        guard self.isAlive else { return }
        if self.isPaused {
            self.backlog.append(work)
        } else {
            work()
        }
    }

    /// Stops the process for a while; its clock runs on.
    package func pause(for duration: Duration) {
        guard self.isAlive, !self.isPaused else { return }
        self.isPaused = true
        self.pause += 1
        let pause = self.pause
        self.disturb(for: duration)
        self.scheduler.schedule(after: duration) {
            if self.pause == pause { self.resume() }
        }
    }

    /// Ends a pause: what reached the process meanwhile happens now, before the next event.
    package func resume() {
        guard self.isPaused else { return }
        self.isPaused = false
        let backlog = self.backlog
        self.backlog = []
        for work in backlog {
            self.execute(work)
        }
    }

    /// Ends the process without a farewell.
    package func crash() {
        self.isAlive = false
        self.backlog = []
        self.clock.stop()
    }

    package func disturb(for duration: Duration = .zero) {
        self.disturbedUntil = max(self.disturbedUntil, self.scheduler.now.advanced(by: duration))
    }
}

/// A machine's clock: it has an origin and a speed of its own, and can jump ahead.
///
/// `@unchecked`, because its state has no lock: a simulation runs in one thread, which calls whatever it has scheduled one after
/// the other, and a lock would only hide a part of it that escaped.
package final class SimulatedClock: LeaseClock, @unchecked Sendable {
    private let scheduler: SimulatedScheduler
    private let rate: Double
    /// How often it has jumped.
    package private(set) var jumps = 0
    /// The true time at which it last did.
    package private(set) var jumpedAt: LeaseInstant?
    private var trueBase: LeaseInstant
    private var localBase: LeaseInstant
    private var timers = TimerQueue()
    /// Tells the wake-up that counts from those that were scheduled before it.
    private var wake: (serial: UInt64, deadline: LeaseInstant)?
    private var wakeSerial: UInt64 = 0
    fileprivate var run: (@escaping () -> Void) -> Void = { $0() }

    fileprivate init(scheduler: SimulatedScheduler, offset: Duration, rate: Double) {
        self.scheduler = scheduler
        self.rate = rate
        self.trueBase = scheduler.now
        self.localBase = LeaseInstant(sinceOrigin: offset)
    }

    /// What the clock shows.
    package var now: LeaseInstant {
        let elapsed = self.trueBase.duration(to: self.scheduler.now)
        return self.localBase.advanced(by: self.rate == 1 ? elapsed : elapsed * self.rate)
    }

    /// Whether it runs at the true speed.
    package var isExact: Bool { self.rate == 1 }

    /// The number of calls that are still to be made.
    package var timerCount: Int { self.timers.count }

    /// Schedules a call.
    package func schedule(at deadline: LeaseInstant, _ work: @escaping @Sendable () -> Void) -> LeaseTimer {
        let timer = self.timers.insert(at: deadline, work)
        self.arm()
        return timer
    }

    /// Forgets a scheduled call.
    package func cancel(_ timer: LeaseTimer) {
        self.timers.cancel(timer)
    }

    /// Moves the clock ahead, as the resumption of a suspended machine does.
    package func jump(by duration: Duration) {
        self.localBase = self.now.advanced(by: duration)
        self.trueBase = self.scheduler.now
        self.jumps += 1
        self.jumpedAt = self.scheduler.now
        self.wake = nil
        self.arm()
    }

    fileprivate func stop() {
        self.timers = TimerQueue()
        self.wake = nil
    }

    private func arm() {
        guard let deadline = self.timers.nextDeadline() else { return }
        if let wake, wake.deadline <= deadline { return }
        self.wakeSerial += 1
        let serial = self.wakeSerial
        self.wake = (serial, deadline)
        let remaining = self.now.duration(to: deadline)
        // A microsecond more, so that rounding never wakes it before the deadline.
        let delay = self.rate == 1 ? remaining : remaining / self.rate + .microseconds(1)
        self.scheduler.schedule(after: max(delay, .zero)) {
            guard self.wake?.serial == serial else { return }
            self.run { self.fire(serial) }
        }
    }

    private func fire(_ serial: UInt64) {
        guard self.wake?.serial == serial else { return }
        self.wake = nil
        // One call an event: a bug that makes calls due again and again then shows as a world that does not come to rest.
        self.timers.popDue(now: self.now)?()
        self.arm()
    }
}
