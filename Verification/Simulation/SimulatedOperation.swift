import Singleflight
import SingleflightLease

/// One caller's operation. As a task does, it comes to life at once or a little later, and waits to be begun.
///
/// `@unchecked`, as ``SimulationBound``.
final class SimulatedOperation: FlightOperation, @unchecked Sendable {
    enum Progress {
        case waiting, running, canceled, finished, dismissed
    }

    /// What stands for the task.
    private final class Work {
        var isCanceled = false
        /// A task inherits the priority of the caller that makes it.
        var priority = Task.currentPriority
        var onCancel: () -> Void = {}
    }

    /// Kept until the work is over, as a task keeps what it works for.
    let flight: SimulatedFlight
    private(set) var progress = Progress.waiting
    /// Where it writes its stream, if it does.
    var writer: SimulatedWriter?
    private var state = OperationState<(OperationStart) -> Void, Work>()
    private let work = Work()

    init(_ flight: SimulatedFlight) {
        self.flight = flight
        self.work.onCancel = { [unowned self] in
            if self.progress == .running { self.progress = .canceled }
            self.writer?.stop()
        }
        let scheduler = flight.process.simulation.scheduler
        let isImmediate = scheduler.chance(0.6)
        if isImmediate { self.waitForStart() }
        self.state.made(self.work)
        if !isImmediate {
            scheduler.schedule(after: scheduler.duration(.zero...(.milliseconds(1)))) {
                flight.process.machine.execute { self.waitForStart() }
            }
        }
    }

    /// How urgent the work is.
    var priority: TaskPriority { self.work.priority }

    private func waitForStart() {
        let start = self.state.wait { [unowned self] in self.started($0) }
        if let start { self.started(start) }
    }

    private func started(_ start: OperationStart) {
        guard self.progress == .waiting else {
            return self.flight.monitor.violate("I11", "an operation was begun twice")
        }
        switch start {
        case .dismissed:
            self.progress = .dismissed
        case .run(let token):
            self.progress = self.work.isCanceled ? .canceled : .running
            self.flight.operationStarts(self, token)
        }
    }

    // MARK: - FlightOperation

    func begin(token: LeaseToken?) {
        guard self.flight.process.machine.isAlive else { return }
        self.state.decide(.run(token))?(.run(token))
    }

    func cancel() {
        guard self.flight.process.machine.isAlive else { return }
        if let work = self.state.cancel() {
            work.isCanceled = true
            work.onCancel()
        }
        self.state.decide(.dismissed)?(.dismissed)
    }

    func raise(to priority: TaskPriority) {
        if let work = self.state.raise() { work.priority = max(work.priority, priority) }
    }

    /// The work is over.
    ///
    /// - Parameter isCooperative: whether the operation ends when it is canceled, and then says nothing.
    func ended(_ result: Result<SimulatedValue, any Error>, isCooperative: Bool) {
        guard self.progress == .running || (self.progress == .canceled && !isCooperative) else { return }
        self.progress = .finished
        self.flight.handIn(fromTask: result.map { ErasedValue($0) })
    }
}
