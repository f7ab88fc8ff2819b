import Synchronization

/// Lets a shutdown wait until no flight listens to the inbox any more: each has sent what it had to hand back by then.
final class LastListener: Sendable {
    private let isAwaited = Atomic(false)
    private let waiting = Mutex<[CheckedContinuation<Void, Never>]>([])

    /// The last listener has gone. That happens all the time, and mostly nobody waits for it.
    func gone() {
        // A wait that began before the router's lock was taken for the last listener is seen here.
        guard self.isAwaited.load(ordering: .relaxed) else { return }
        self.giveUp()
    }

    /// Returns when none is left, or when given up.
    ///
    /// - Parameter count: how many there are; called after ``gone()`` has begun to be heeded.
    func wait(_ count: () -> Int) async {
        await withCheckedContinuation { continuation in
            self.waiting.withLock { $0.append(continuation) }
            self.isAwaited.store(true, ordering: .relaxed)
            if count() == 0 { self.giveUp() }
        }
    }

    /// Nobody waits any longer.
    func giveUp() {
        let waiting = self.waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        for continuation in waiting {
            continuation.resume()
        }
    }
}
