import Singleflight
import Synchronization

/// A value that is set once, and that any number of tasks wait for, each of which can be canceled by itself.
final class SharedValue<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var nextID: UInt64 = 0
        var waiting: [UInt64: @Sendable (Value?) -> Void] = [:]
    }

    private let state = Mutex(State())

    /// Sets the value, if it is not set yet, and resumes all who wait. Returns whether it was this call that set it.
    @discardableResult
    func set(_ value: Value) -> Bool {
        let waiting = self.state.withLock { state -> [UInt64: @Sendable (Value?) -> Void]? in
            guard state.value == nil else { return nil }
            state.value = value
            defer { state.waiting = [:] }
            return state.waiting
        }
        guard let waiting else { return false }
        for handler in waiting.values {
            handler(value)
        }
        return true
    }

    /// The value, if it is set.
    var known: Value? { self.state.withLock { $0.value } }

    /// Calls `handler` with the value as soon as it is set: at once, if it is.
    func onValue(_ handler: @escaping @Sendable (Value) -> Void) {
        let known = self.state.withLock { state in
            guard state.value == nil else { return state.value }
            state.nextID += 1
            state.waiting[state.nextID] = { if let value = $0 { handler(value) } }
            return nil
        }
        if let known, !Planted.bug("late-subscriber-not-told") { handler(known) }
    }

    /// The value, as soon as it is set; nil if the task that waits is canceled before.
    func value() async -> Value? {
        let id = self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let known: Value?? = self.state.withLock { state in
                    if let value = state.value { return .some(value) }
                    // Decided under the lock: the handler below has run already, or will find the continuation.
                    if Task.isCancelled { return .some(nil) }
                    state.waiting[id] = { continuation.resume(returning: $0) }
                    return .none
                }
                if let known {
                    continuation.resume(returning: known)
                }
            }
        } onCancel: {
            let handler = self.state.withLock { $0.waiting.removeValue(forKey: id) }
            handler?(nil)
        }
    }
}
