// The state machine resumes every waiter exactly once; debug builds check it at each continuation, release builds don't
// pay for it (an allocation and a tenth of the time of a wait).
#if DEBUG
    @usableFromInline package typealias Continuation<T> = CheckedContinuation<T, Never>
#else
    @usableFromInline package typealias Continuation<T> = UnsafeContinuation<T, Never>
#endif

@inlinable
package func withContinuation<T: Sendable>(_ body: (Continuation<T>) -> Void) async -> T {
    #if DEBUG
        await withCheckedContinuation(body)
    #else
        await withUnsafeContinuation(body)
    #endif
}
