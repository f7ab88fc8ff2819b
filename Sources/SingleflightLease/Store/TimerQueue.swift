import Singleflight

/// Scheduled calls in the order of their deadlines: a binary heap whose canceled entries are dropped lazily.
///
/// One queue with one wake-up serves all flights of a store; insertion is O(log n), cancellation amortized O(1).
package struct TimerQueue: Sendable {
    package typealias Work = @Sendable () -> Void

    private struct Entry: Sendable {
        var deadline: LeaseInstant
        var id: UInt64

        /// Equal deadlines fire in the order in which they were scheduled.
        func precedes(_ other: Entry) -> Bool {
            if Planted.bug("timers-in-the-order-of-their-making") { return self.id < other.id }
            return (self.deadline, self.id) < (other.deadline, other.id)
        }
    }

    /// By itself a function would be wrapped once more, and allocated, to fit into a dictionary.
    private struct Call: Sendable {
        var work: Work
    }

    private var heap: [Entry] = []
    private var calls: [UInt64: Call] = [:]
    private var nextID: UInt64 = 0

    package init() {}

    /// The number of calls that are still to be made.
    package var count: Int { self.calls.count }

    package mutating func insert(at deadline: LeaseInstant, _ work: @escaping Work) -> LeaseTimer {
        let id = self.nextID
        self.nextID += 1
        self.calls[id] = Call(work: work)
        self.heap.append(Entry(deadline: deadline, id: id))
        self.siftUp(from: self.heap.count - 1)
        return LeaseTimer(id: id)
    }

    package mutating func cancel(_ timer: LeaseTimer) {
        guard self.calls.removeValue(forKey: timer.id) != nil else { return }
        // An uncontended flight cancels its timer within microseconds, long before the deadline: without a sweep the
        // heap would hold every flight of the last lease interval.
        if self.heap.count > 2 * self.calls.count + 64 {
            self.sweep()
        }
    }

    /// The earliest deadline of a call that is still to be made.
    package mutating func nextDeadline() -> LeaseInstant? {
        self.dropCanceledHead()
        return self.heap.first?.deadline
    }

    /// Removes and returns the earliest call whose deadline is not after `now`.
    package mutating func popDue(now: LeaseInstant) -> Work? {
        self.dropCanceledHead()
        guard let head = self.heap.first, head.deadline <= now else { return nil }
        self.removeHead()
        if Planted.bug("due-timer-forgotten") { return nil }
        return self.calls.removeValue(forKey: head.id)?.work
    }

    private mutating func dropCanceledHead() {
        while let head = self.heap.first, self.calls[head.id] == nil {
            self.removeHead()
        }
    }

    private mutating func sweep() {
        self.heap.removeAll { self.calls[$0.id] == nil }
        for index in stride(from: self.heap.count / 2 - 1, through: 0, by: -1) {
            self.siftDown(from: index)
        }
    }

    private mutating func removeHead() {
        let last = self.heap.removeLast()
        guard !self.heap.isEmpty else { return }
        self.heap[0] = last
        self.siftDown(from: 0)
    }

    private mutating func siftUp(from start: Int) {
        var index = start
        while index > 0 {
            let parent = (index - 1) / 2
            guard self.heap[index].precedes(self.heap[parent]) else { return }
            self.heap.swapAt(index, parent)
            index = parent
        }
    }

    private mutating func siftDown(from start: Int) {
        var index = start
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2] where child < self.heap.count {
                if self.heap[child].precedes(self.heap[least]) {
                    least = child
                }
            }
            guard least != index else { return }
            self.heap.swapAt(index, least)
            index = least
        }
    }
}
