import Synchronization

/// Holds back whoever waits until it is opened, and tells how many came.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var arrivals = 0
        var held: [CheckedContinuation<Void, Never>] = []
        var watchers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    /// Arrives, and waits until the gate is open. Deaf to cancellation.
    func wait() async {
        await withCheckedContinuation { continuation in
            let resumed = self.state.withLock { state in
                state.arrivals += 1
                var resumed = state.watchers.filter { $0.count <= state.arrivals }.map(\.continuation)
                state.watchers.removeAll { $0.count <= state.arrivals }
                if state.isOpen {
                    resumed.append(continuation)
                } else {
                    state.held.append(continuation)
                }
                return resumed
            }
            for continuation in resumed { continuation.resume() }
        }
    }

    func open() {
        let held = self.state.withLock { state in
            state.isOpen = true
            defer { state.held = [] }
            return state.held
        }
        for continuation in held { continuation.resume() }
    }

    /// Waits until so many have arrived.
    func untilArrived(_ count: Int = 1) async {
        await withCheckedContinuation { continuation in
            let isThere = self.state.withLock { state in
                guard state.arrivals < count else { return true }
                state.watchers.append((count, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
    }

    var arrivals: Int { self.state.withLock { $0.arrivals } }
}
