import Synchronization

/// Counts the requests that are not answered yet, so that a shutdown can wait for the last ones.
final class OutstandingRequests: Sendable {
    private struct State {
        var count = 0
        /// Whether the first moment without a request is the end.
        var isClosing = false
        var isClosed = false
        var waiting: [CheckedContinuation<Void, Never>] = []

        mutating func takeFinished() -> [CheckedContinuation<Void, Never>] {
            guard self.isClosing, self.count == 0 else { return [] }
            self.isClosed = true
            defer { self.waiting = [] }
            return self.waiting
        }
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
        let finished = self.state.withLock { state in
            state.count -= 1
            return state.takeFinished()
        }
        for continuation in finished {
            continuation.resume()
        }
    }

    /// Returns when all that began are answered, and lets no other begin from then on.
    ///
    /// Until then others may: an answer can be the reason for one more, which hands back what was granted.
    func close() async {
        await withCheckedContinuation { continuation in
            let finished = self.state.withLock { state in
                state.isClosing = true
                state.waiting.append(continuation)
                return state.takeFinished()
            }
            for continuation in finished {
                continuation.resume()
            }
        }
    }

    /// Lets no other begin, whatever is still to be answered.
    func refuse() {
        self.state.withLock { $0.isClosed = true }
    }
}
