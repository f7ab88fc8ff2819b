import Singleflight
import Synchronization

/// Work that runs if its process comes to lead: what a flight's driver knows of an operation and its task.
package protocol FlightOperation: AnyObject, Sendable {
    /// The lease is held, or none is needed: begin. Called at most once.
    func begin(token: LeaseToken?)
    /// No result is wanted any more, or the work will never begin. May be called more than once, also after the work's end.
    func cancel()
    /// A caller of this priority waits: higher than any before.
    func raise(to priority: TaskPriority)
}

/// An operation in a task of its own.
///
/// The task is made when its caller joins the flight, and waits for the lease: so it inherits the task-locals and the
/// priority of that caller, which the thread that brings the store's reply does not have.
final class OperationTask: FlightOperation {
    private enum Start: Sendable {
        /// The work runs, under this token if there is a lease.
        case run(LeaseToken?)
        /// The work never runs.
        case dismissed
    }

    private struct State {
        var start: Start?
        /// The task, while it waits for the start.
        var waiting: Continuation<Start>?
        var task: Task<Void, Never>?
        var isCanceled = false
        var priority: TaskPriority?
    }

    private let state = Mutex(State())

    /// - Parameter body: the work; it is given the token of the lease, and `nil` where there is none.
    init(_ body: @escaping @Sendable (_ token: LeaseToken?) async -> Void) {
        // It starts on the caller's thread and runs to its first suspension: one task less for a thread to take up.
        let task = Self.launch {
            guard case .run(let token) = await self.started() else { return }
            await body(token)
        }
        let (isCanceled, priority) = self.state.withLock { state in
            state.task = task
            return (state.isCanceled, state.priority)
        }
        if isCanceled { task.cancel() }
        if let priority { Self.escalate(task, to: priority) }
    }

    private static func launch(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
            Task.immediate(operation: body)
        } else {
            Task(operation: body)
        }
    }

    private static func escalate(_ task: Task<Void, Never>, to priority: TaskPriority) {
        if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
            task.escalatePriority(to: priority)
        }
    }

    /// Waits until it is known whether the work is to run.
    private func started() async -> Start {
        await withContinuation { continuation in
            let start = self.state.withLock { state in
                if state.start == nil { state.waiting = continuation }
                return state.start
            }
            if let start { continuation.resume(returning: start) }
        }
    }

    private func decide(_ start: Start) {
        let waiting = self.state.withLock { state -> Continuation<Start>? in
            guard state.start == nil else { return nil }
            state.start = start
            return state.waiting.take()
        }
        waiting?.resume(returning: start)
    }

    func begin(token: LeaseToken?) {
        self.decide(.run(token))
    }

    func cancel() {
        let task = self.state.withLock { state in
            state.isCanceled = true
            return state.task
        }
        task?.cancel()
        self.decide(.dismissed)
    }

    func raise(to priority: TaskPriority) {
        let task = self.state.withLock { state in
            state.priority = max(state.priority ?? priority, priority)
            return state.task
        }
        if let task { Self.escalate(task, to: priority) }
    }
}
