package import NIOCore
import Synchronization

/// Tells when an event loop has ended.
///
/// An event loop that has ended takes tasks and never runs them, and says so to nobody: what waits for one of them
/// would wait for ever.
package final class EventLoopEnd: Sendable {
    private struct State {
        var hasCome = false
        var nextID: UInt64 = 0
        var handlers: [UInt64: @Sendable () -> Void] = [:]
        var sentinel: Scheduled<Void>?
    }

    private let state = Mutex(State())

    package init(of eventLoop: any EventLoop) {
        // An event loop that ends fails the tasks that it has not run. No program runs for as long as this one waits.
        let sentinel = eventLoop.scheduleTask(in: .hours(24 * 365 * 30)) {}
        self.state.withLock { $0.sentinel = sentinel }
        sentinel.futureResult.whenFailure { [weak self] error in
            guard case EventLoopError.shutdown = error else { return }
            self?.come()
        }
    }

    deinit {
        self.state.withLock { $0.sentinel }?.cancel()
    }

    package var hasCome: Bool { self.state.withLock { $0.hasCome } }

    /// Calls `handler` when the event loop has ended, on the loop's last turn; at once, and without a number to forget
    /// it by, if it has.
    @discardableResult
    package func whenCome(_ handler: @escaping @Sendable () -> Void) -> UInt64? {
        let id = self.state.withLock { state -> UInt64? in
            guard !state.hasCome else { return nil }
            state.nextID += 1
            state.handlers[state.nextID] = handler
            return state.nextID
        }
        if id == nil { handler() }
        return id
    }

    package func forget(_ id: UInt64?) {
        guard let id else { return }
        // Handed out: what it holds must not be let go of under the lock.
        _ = self.state.withLock { $0.handlers.removeValue(forKey: id) }
    }

    private func come() {
        let handlers = self.state.withLock { state in
            state.hasCome = true
            defer { state.handlers = [:] }
            return state.handlers
        }
        for handler in handlers.values { handler() }
    }
}
