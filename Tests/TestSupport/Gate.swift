import Synchronization
public import Testing

/// Holds back whatever waits until it is opened, and tells how many came.
///
/// It is for operations, which a canceled flight leaves running: ``wait()`` is deaf to cancellation. No wait lasts for
/// ever: a gate that nobody opens within two minutes, twice as long as most tests may take, records an issue and opens.
public final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var arrivals = 0
        var held: [CheckedContinuation<Void, Never>] = []
        var watchers: [(count: Int, waiter: Waiter)] = []
        var alarm: Task<Void, Never>?
    }

    private let state = Mutex(State())
    private let name: String
    private let location: SourceLocation

    /// Creates a closed gate.
    ///
    /// - Parameter name: what an issue calls it.
    public init(_ name: String = "a gate", sourceLocation: SourceLocation = #_sourceLocation) {
        self.name = name
        self.location = sourceLocation
    }

    /// Arrives, and waits until the gate is open, canceled or not.
    public func wait() async {
        await withCheckedContinuation { continuation in
            let (isOpen, arrived) = self.state.withLock { state in
                state.arrivals += 1
                let arrived = state.watchers.filter { $0.count <= state.arrivals }.map(\.waiter)
                state.watchers.removeAll { $0.count <= state.arrivals }
                if !state.isOpen {
                    state.held.append(continuation)
                    if state.alarm == nil { state.alarm = self.alarm() }
                }
                return (state.isOpen, arrived)
            }
            for waiter in arrived { waiter.resume() }
            if isOpen { continuation.resume() }
        }
    }

    /// Arrives, and waits until the gate is open, or throws when the task is canceled; that opens the gate, too.
    public func waitUnlessCanceled() async throws {
        await withTaskCancellationHandler {
            await self.wait()
        } onCancel: {
            self.open()
        }
        try Task.checkCancellation()
    }

    /// Lets everything through, now and from now on.
    public func open() {
        let (held, alarm) = self.state.withLock { state in
            state.isOpen = true
            defer { (state.held, state.alarm) = ([], nil) }
            return (state.held, state.alarm)
        }
        alarm?.cancel()
        for continuation in held { continuation.resume() }
    }

    /// Waits until `count` have arrived, or until the task is canceled. After half a minute that is an issue.
    public func untilArrived(_ count: Int = 1, sourceLocation: SourceLocation = #_sourceLocation) async {
        await suspended(at: sourceLocation) {
            "\(count) arrivals at \(self.name); \(self.arrivals) came"
        } until: { waiter in
            let isThere = self.state.withLock { state in
                if state.arrivals < count { state.watchers.append((count, waiter)) }
                return state.arrivals >= count
            }
            if isThere { waiter.resume() }
        }
    }

    /// How many came.
    public var arrivals: Int { self.state.withLock { $0.arrivals } }

    private func alarm() -> Task<Void, Never> {
        Task { [weak self] in
            let limit = patience * 4
            try? await Task.sleep(for: limit)
            guard !Task.isCancelled, let self else { return }
            Issue.record("nobody opened \(self.name) within \(limit)", sourceLocation: self.location)
            self.open()
        }
    }
}
