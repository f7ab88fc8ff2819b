import Synchronization

/// Some slots, and the right to have all of them for oneself, which comes last.
final class TurnSlots: Sendable {
    private struct State {
        var free: Int
        var lastID = 0
        var waiting: [(id: Int, company: Turn.Company, continuation: CheckedContinuation<Bool, Never>)] = []

        /// Those who wait and can begin now, with their slots taken.
        mutating func admitted(of count: Int) -> [CheckedContinuation<Bool, Never>] {
            var admitted: [CheckedContinuation<Bool, Never>] = []
            while self.free > 0, let next = self.waiting.firstIndex(where: { $0.company == .few }) {
                self.free -= 1
                admitted.append(self.waiting.remove(at: next).continuation)
            }
            if self.free == count, !self.waiting.isEmpty {
                self.free = 0
                admitted.append(self.waiting.removeFirst().continuation)
            }
            return admitted
        }
    }

    private let state: Mutex<State>
    private let count: Int

    init(_ count: Int) {
        self.count = count
        self.state = Mutex(State(free: count))
    }

    /// Calls `body` once there is room.
    ///
    /// - Throws: `CancellationError` when the task is canceled before there is, and what `body` throws.
    func withSlot(_ company: Turn.Company, _ body: () async throws -> Void) async throws {
        guard await self.take(company) else { throw CancellationError() }
        defer { self.giveBack(company == .few ? 1 : self.count) }
        try await body()
    }

    /// Whether there is a slot, rather than a cancellation.
    private func take(_ company: Turn.Company) async -> Bool {
        let id = self.state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isCanceled = Task.isCancelled
                self.change { state in
                    if !isCanceled { state.waiting.append((id, company, continuation)) }
                }
                if isCanceled { continuation.resume(returning: false) }
            }
        } onCancel: {
            let removed = self.state.withLock { state in
                state.waiting.firstIndex { $0.id == id }.map { state.waiting.remove(at: $0).continuation }
            }
            removed?.resume(returning: false)
        }
    }

    private func giveBack(_ slots: Int) {
        self.change { $0.free += slots }
    }

    private func change(_ body: (inout State) -> Void) {
        let admitted = self.state.withLock { state in
            body(&state)
            return state.admitted(of: self.count)
        }
        for continuation in admitted { continuation.resume(returning: true) }
    }
}
