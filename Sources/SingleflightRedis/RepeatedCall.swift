import SingleflightLease
import Synchronization

/// Makes a call at once, and then at intervals, until it is ended.
final class RepeatedCall: Sendable {
    private struct State {
        var timer: LeaseTimer?
        var isOver = false
    }

    private let clock: any LeaseClock
    private let interval: Duration
    private let call: @Sendable () -> Void
    private let state = Mutex(State())

    init(on clock: any LeaseClock, every interval: Duration, _ call: @escaping @Sendable () -> Void) {
        self.clock = clock
        self.interval = interval
        self.call = call
    }

    func start() {
        guard !self.state.withLock({ $0.isOver }) else { return }
        self.call()
        let timer = self.clock.schedule(at: self.clock.now.advanced(by: self.interval)) { self.start() }
        let isOver = self.state.withLock { state in
            state.timer = timer
            return state.isOver
        }
        if isOver { self.clock.cancel(timer) }
    }

    func end() {
        let timer = self.state.withLock { state in
            state.isOver = true
            return state.timer.take()
        }
        if let timer { self.clock.cancel(timer) }
    }
}
