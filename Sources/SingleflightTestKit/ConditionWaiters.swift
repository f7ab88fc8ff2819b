/// Those who wait until a value fulfills a condition: the test kit's alternative to sleeping.
///
/// It lives under the lock that owns the value. Whoever changes the value takes those whose condition holds now, and
/// resumes them once the lock is released.
struct ConditionWaiters<Value>: Sendable {
    private struct Waiter: Sendable {
        var continuation: CheckedContinuation<Void, Never>
        var condition: @Sendable (Value) -> Bool
    }

    /// Waiters whose condition holds, to be resumed outside of the lock.
    struct Satisfied: Sendable {
        fileprivate var continuations: [CheckedContinuation<Void, Never>]

        func resume() {
            for continuation in self.continuations {
                continuation.resume()
            }
        }
    }

    private var waiters: [Waiter] = []

    var isEmpty: Bool { self.waiters.isEmpty }

    mutating func add(
        _ continuation: CheckedContinuation<Void, Never>,
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
