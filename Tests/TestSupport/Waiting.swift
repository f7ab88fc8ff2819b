import Synchronization
public import Testing

/// How long a test waits for something that must come, before it says in vain for what.
public let patience = Duration.seconds(30)

/// One that waits: for ``resume()``, for the cancellation of its task, or until its patience ends, whichever is first.
public final class Waiter: Sendable {
    private enum State {
        case new
        case suspended(CheckedContinuation<Void, Never>)
        case over
    }

    private let state = Mutex(State.new)

    fileprivate init() {}

    /// Ends the wait; the first call counts.
    public func resume() { _ = self.end() }

    /// Whether this ended the wait.
    fileprivate func end() -> Bool {
        let (isFirst, continuation) = self.state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
            defer { state = .over }
            return switch state {
            case .new: (true, nil)
            case .suspended(let continuation): (true, continuation)
            case .over: (false, nil)
            }
        }
        continuation?.resume()
        return isFirst
    }

    fileprivate func suspend() async {
        await withCheckedContinuation { continuation in
            let isOver = self.state.withLock { state in
                guard case .new = state else { return true }
                state = .suspended(continuation)
                return false
            }
            if isOver { continuation.resume() }
        }
    }
}

/// Waits until `register`'s waiter is resumed, until the task is canceled, or until ``patience`` ends: then an issue
/// says for what it waited.
public func suspended(
    at location: SourceLocation,
    waitingFor what: @escaping @Sendable () -> String,
    until register: (Waiter) -> Void
) async {
    let waiter = Waiter()
    register(waiter)
    let alarm = Task {
        try? await Task.sleep(for: patience)
        guard !Task.isCancelled, waiter.end() else { return }
        Issue.record("waited \(patience) for \(what())", sourceLocation: location)
    }
    await withTaskCancellationHandler {
        await waiter.suspend()
    } onCancel: {
        waiter.resume()
    }
    alarm.cancel()
}

/// Asks every millisecond whether something has come about of which nothing tells.
///
/// - Throws: `CancellationError` when the task is canceled, ``WaitedTooLong`` when ``patience`` ends, and what the
///   condition throws.
public func until(_ what: String, _ condition: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + patience
    while try await !condition() {
        guard ContinuousClock.now < end else { throw WaitedTooLong(what: what) }
        try await Task.sleep(for: .milliseconds(1))
    }
}

/// What a test waited for has not come.
public struct WaitedTooLong: Error, CustomStringConvertible {
    let what: String

    /// For what, and how long.
    public var description: String { "waited \(patience) for \(self.what)" }
}
