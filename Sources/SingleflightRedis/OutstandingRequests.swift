import Synchronization

/// Counts the requests that are not answered yet, so that a shutdown can wait for the last ones.
final class OutstandingRequests: Sendable {
    private struct State {
        var count = 0
        var isClosed = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    /// Counts one request more; false once closed.
    func begin() -> Bool {
        self.state.withLock { state in
            guard !state.isClosed else { return false }
            state.count += 1
            return true
        }
    }

    func end() {
        let finished = self.state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.count -= 1
            guard state.count == 0 else { return [] }
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in finished {
            continuation.resume()
        }
    }

    /// Lets no further request begin, and returns when those that began are answered.
    func close() async {
        await withCheckedContinuation { continuation in
            let isDone = self.state.withLock { state in
                state.isClosed = true
                if state.count > 0 {
                    state.waiting.append(continuation)
                    return false
                }
                return true
            }
            if isDone {
                continuation.resume()
            }
        }
    }
}
