import Synchronization

/// Holds requests or replies until a test lets them go.
public final class RequestGate: Sendable {
    private struct State {
        var isOpen = false
        var held: [@Sendable () -> Void] = []
        var waiters = ConditionWaiters<Int>()
    }

    private let state = Mutex(State())

    /// Creates a closed gate.
    public init() {}

    /// Lets go of what is held, in the order in which it came, on the caller's thread; nothing is held from then on.
    public func open() {
        let held = self.state.withLock { state in
            state.isOpen = true
            defer { state.held = [] }
            return state.held
        }
        for step in held {
            step()
        }
    }

    /// Waits until `count` requests or replies are held, or until the task is canceled.
    public func untilHeld(_ count: Int = 1) async {
        await withCancelableContinuation { continuation in
            let satisfied = self.state.withLock { state in
                state.waiters.add(continuation) { $0 >= count }
                return state.waiters.takeSatisfied(by: state.held.count)
            }
            satisfied.resume()
        }
    }

    func hold(_ step: @escaping @Sendable () -> Void) {
        let satisfied = self.state.withLock { state -> ConditionWaiters<Int>.Satisfied? in
            guard !state.isOpen else { return nil }
            state.held.append(step)
            return state.waiters.takeSatisfied(by: state.held.count)
        }
        guard let satisfied else { return step() }
        satisfied.resume()
    }
}
