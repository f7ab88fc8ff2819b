import Synchronization

/// What has happened in a cell so far, for those who wait for it.
final class Milestones: Sendable {
    enum Milestone: Hashable {
        case leaderBegan, leaderFenced, leaderStopped, leaderResolved
        case followerAnswered, followerResolved
        case heirBegan, heirMayEnd
    }

    private struct State {
        var reached: Set<Milestone> = []
        var nextID = 0
        var waiting: [Int: (any: Set<Milestone>, continuation: CheckedContinuation<Bool, Never>)] = [:]
    }

    private let state = Mutex(State())

    func reach(_ milestone: Milestone) {
        let resumed = self.state.withLock { state in
            state.reached.insert(milestone)
            let resumed = state.waiting.filter { $0.value.any.contains(milestone) }
            for id in resumed.keys { state.waiting[id] = nil }
            return resumed.values.map(\.continuation)
        }
        for continuation in resumed { continuation.resume(returning: true) }
    }

    /// Waits for any of these; false if none was reached within `limit`.
    @discardableResult
    func wait(for milestones: Milestone..., within limit: Duration) async -> Bool {
        let any = Set(milestones)
        return await withCheckedContinuation { continuation in
            let id: Int? = self.state.withLock { state in
                guard state.reached.isDisjoint(with: any) else { return nil }
                state.nextID += 1
                state.waiting[state.nextID] = (any, continuation)
                return state.nextID
            }
            guard let id else { return continuation.resume(returning: true) }
            Task {
                try? await Task.sleep(for: limit)
                self.state.withLock { $0.waiting.removeValue(forKey: id) }?.continuation.resume(returning: false)
            }
        }
    }
}
