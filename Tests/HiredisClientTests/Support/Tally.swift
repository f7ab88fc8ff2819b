import Synchronization

/// Counts, one for each of a number of things, from any thread.
final class Tally: Sendable {
    private let state: Mutex<[Int]>

    init(_ count: Int) {
        state = Mutex(Array(repeating: 0, count: count))
    }

    func add(_ index: Int) {
        state.withLock { $0[index] += 1 }
    }

    var counts: [Int] { state.withLock { $0 } }
}
