import Synchronization

/// A value that is set once, from any thread, and awaited by any number of tasks.
final class OneShot<Value: Sendable>: Sendable {
    private enum State {
        case pending([CheckedContinuation<Value, Never>])
        case set(Value)
    }

    private let state = Mutex(State.pending([]))

    /// The value, as soon as there is one. Cancellation does not end the wait.
    var value: Value {
        get async {
            await withCheckedContinuation { continuation in
                let ready: Value? = state.withLock { state in
                    switch state {
                    case .pending(let waiting):
                        state = .pending(waiting + [continuation])
                        return nil
                    case .set(let value):
                        return value
                    }
                }
                if let ready { continuation.resume(returning: ready) }
            }
        }
    }

    /// Sets the value; the first call wins, later ones change nothing.
    func set(_ value: Value) {
        let waiting: [CheckedContinuation<Value, Never>] = state.withLock { state in
            switch state {
            case .pending(let waiting):
                state = .set(value)
                return waiting
            case .set:
                return []
            }
        }
        for continuation in waiting { continuation.resume(returning: value) }
    }
}
