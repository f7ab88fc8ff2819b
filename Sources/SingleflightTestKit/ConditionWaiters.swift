import Synchronization

/// Those who wait until a value fulfills a condition: the test kit's alternative to sleeping.
///
/// It lives under the lock that owns the value. The code that changes the value takes the waiters whose condition holds
/// now, and resumes them once the lock is released.
struct ConditionWaiters<Value>: Sendable {
    private struct Waiter: Sendable {
        var continuation: CancelableContinuation
        var condition: @Sendable (Value) -> Bool
    }

    /// Waiters whose condition holds, to be resumed outside of the lock.
    struct Satisfied: Sendable {
        fileprivate var continuations: [CancelableContinuation]

        func resume() {
            for continuation in self.continuations {
                continuation.resume()
            }
        }
    }

    private var waiters: [Waiter] = []

    var isEmpty: Bool { self.waiters.isEmpty }

    mutating func add(
        _ continuation: CancelableContinuation,
        until condition: @escaping @Sendable (Value) -> Bool
    ) {
        self.waiters.append(Waiter(continuation: continuation, condition: condition))
    }

    mutating func takeSatisfied(by value: Value) -> Satisfied {
        guard !self.waiters.isEmpty else { return Satisfied(continuations: []) }
        let satisfied = Satisfied(continuations: self.waiters.filter { $0.condition(value) }.map(\.continuation))
        self.waiters.removeAll { $0.condition(value) }
        return satisfied
    }
}

/// Suspends until `body`'s continuation is resumed, or until the task is canceled: a test that is out of time ends.
func withCancelableContinuation(_ body: (CancelableContinuation) -> Void) async {
    let cancelable = CancelableContinuation()
    await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
            if cancelable.suspend(continuation) {
                body(cancelable)
            } else {
                continuation.resume()
            }
        }
    } onCancel: {
        cancelable.resume()
    }
}

/// A continuation that may be resumed more than once, and before its task is suspended; the first time counts.
final class CancelableContinuation: Sendable {
    private enum State {
        case new
        case suspended(CheckedContinuation<Void, Never>)
        case resumed
    }

    private let state = Mutex(State.new)

    func resume() {
        let continuation = self.state.withLock { state -> CheckedContinuation<Void, Never>? in
            defer { state = .resumed }
            if case .suspended(let continuation) = state { return continuation } else { return nil }
        }
        continuation?.resume()
    }

    /// Whether there is something to wait for.
    fileprivate func suspend(_ continuation: CheckedContinuation<Void, Never>) -> Bool {
        self.state.withLock { state in
            guard case .new = state else { return false }
            state = .suspended(continuation)
            return true
        }
    }
}
