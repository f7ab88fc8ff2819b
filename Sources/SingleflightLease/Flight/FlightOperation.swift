import Singleflight
import Synchronization

/// Work that runs if its process comes to lead: what a flight's driver knows of an operation and its task.
package protocol FlightOperation: AnyObject, Sendable {
    /// The lease is held, or none is needed: begin. Called at most once.
    func begin(token: LeaseToken?)
    /// No result is wanted any more, or the work will never begin. May be called more than once, also after the work's
    /// end.
    func cancel()
    /// A caller of this priority waits: higher than any before.
    func raise(to priority: TaskPriority)
}

/// What is decided of an operation, once.
package enum OperationStart: Sendable {
    /// The work runs, under this token if there is a lease.
    case run(LeaseToken?)
    /// The work never runs.
    case dismissed
}

/// What is known of an operation, under the lock of whatever runs it. Each step says what is to be done outside of it.
///
/// - Parameters:
///   - Waiting: the work, while it waits to be begun.
///   - Work: the work, once it was made.
package struct OperationState<Waiting, Work> {
    private var start: OperationStart?
    private var waiting: Waiting?
    private var work: Work?

    package init() {}

    /// The work was made; before anybody else knows of the operation.
    package mutating func made(_ work: Work) {
        self.work = work
    }

    /// The work waits to be begun. Answers at once if that is known.
    package mutating func wait(_ waiting: Waiting) -> OperationStart? {
        if self.start == nil { self.waiting = waiting }
        return Planted.bug("begun-before-it-waits-forgotten") ? nil : self.start
    }

    /// The work is to run, or never will. Answers the work that waits for that.
    package mutating func decide(_ start: OperationStart) -> Waiting? {
        guard self.start == nil else { return nil }
        self.start = start
        return self.waiting.take()
    }

    /// The work is not wanted any more. Answers what is to be canceled.
    package func cancel() -> Work? {
        Planted.bug("cancellation-forgotten") ? nil : self.work
    }

    /// Somebody of this priority waits. Answers what is to be raised.
    package func raise() -> Work? {
        Planted.bug("urgency-forgotten") ? nil : self.work
    }
}

/// An operation in a task of its own.
///
/// The task is made when its caller joins the flight, and waits for the lease: so it inherits the task-locals and the
/// priority of that caller, which the thread that brings the store's reply does not have. It hands its result to the
/// flight.
final class OperationTask: FlightOperation {
    private let driver: FlightDriver
    private let observed: ObservedCall?
    private let body: GroupCore.Operation
    private let state = Mutex(OperationState<Continuation<OperationStart>, Task<Void, Never>>())

    /// - Parameter observed: what an observing group takes the operation's call for.
    init(_ driver: FlightDriver, _ observed: ObservedCall?, _ body: @escaping GroupCore.Operation) {
        self.driver = driver
        self.observed = observed
        self.body = body
        // It starts on the caller's thread and runs to its first suspension: one task less for a thread to take up.
        let task =
            if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
                Task.immediate { await self.run() }
            } else {
                Task { await self.run() }
            }
        self.state.withLock { $0.made(task) }
    }

    private func run() async {
        guard case .run = await self.started() else { return }
        let result: Result<ErasedValue, any Error>
        do {
            result = .success(try await self.driver.perform { try await self.perform() })
        } catch {
            result = .failure(error)
        }
        await self.driver.handIn(fromTask: result)
    }

    private func perform() async throws -> ErasedValue {
        if let observed { return try await self.perform(for: observed) }
        return try await self.body(Flight(key: self.driver.key, driver: self.driver))
    }

    /// Not inlined, and neither is ``started()``: what is in no frame while the operation runs leaves it the room. All
    /// of them together are to fit into the first piece of memory that a task is given.
    @inline(never)
    private func perform(for observed: ObservedCall) async throws -> ErasedValue {
        try await observed.perform { try await self.body(Flight(key: self.driver.key, driver: self.driver)) }
    }

    private static func escalate(_ task: Task<Void, Never>, to priority: TaskPriority) {
        if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
            task.escalatePriority(to: priority)
        }
    }

    /// Waits until it is known whether the work is to run.
    @inline(never)
    private func started() async -> OperationStart {
        await withContinuation { continuation in
            let start = self.state.withLock { $0.wait(continuation) }
            if let start { continuation.resume(returning: start) }
        }
    }

    private func decide(_ start: OperationStart) {
        let waiting = self.state.withLock { $0.decide(start) }
        waiting?.resume(returning: start)
    }

    func begin(token: LeaseToken?) {
        self.decide(.run(token))
    }

    func cancel() {
        let task = self.state.withLock { $0.cancel() }
        task?.cancel()
        self.decide(.dismissed)
    }

    func raise(to priority: TaskPriority) {
        let task = self.state.withLock { $0.raise() }
        if let task { Self.escalate(task, to: priority) }
    }
}
