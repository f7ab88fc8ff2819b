import SingleflightLease
import Synchronization

/// The greatest fence of each partition that this process was given.
///
/// Redis draws the next one above it. So fences do not go back for this process even where Redis has lost its counter
/// and its clock was set back, which together would make it draw lower ones.
final class SeenFences: Sendable {
    private let greatest = Mutex<[Int: Fence]>([:])

    /// The greatest one of the partition so far; 0 before the first.
    func greatest(of partition: Int) -> Fence {
        self.greatest.withLock { $0[partition] ?? Fence(rawValue: 0) }
    }

    func saw(_ fence: Fence, of partition: Int) {
        self.greatest.withLock { $0[partition] = max($0[partition] ?? fence, fence) }
    }
}
