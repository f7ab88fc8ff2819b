import Synchronization

/// Counts, from any thread.
public final class Counter: Sendable {
    private let count = Atomic(0)

    /// Creates a counter that stands at zero.
    public init() {}

    /// Where it stands.
    public var value: Int { self.count.load(ordering: .sequentiallyConsistent) }

    /// Counts one more.
    public func increment() { self.count.add(1, ordering: .sequentiallyConsistent) }
}
