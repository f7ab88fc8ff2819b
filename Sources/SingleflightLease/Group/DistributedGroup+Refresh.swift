extension DistributedGroup {
    /// Starts a flight of `key`, unless one runs in this process or another, and does not wait for it.
    ///
    /// It computes the value even if an earlier one is kept for reuse, and replaces that when it has ended; until then,
    /// and to its end if the operation fails, callers are given the earlier one. Callers of a group that reuses nothing,
    /// or that come when nothing is kept, join the flight as any other.
    ///
    /// The caller is told nothing of what becomes of it: failures are counted (`singleflight_refreshes_total`) and
    /// logged. The work is canceled when the process shuts down, and after ``DistributedGroupConfiguration/Limits/flight``
    /// at the latest. Where the store cannot be asked nothing is computed. In a group that only observes this does
    /// nothing.
    ///
    /// - Parameters:
    ///   - key: what to compute.
    ///   - operation: computes the value, in a task of its own that inherits this caller's task-locals and priority.
    public func refresh(
        _ key: Key,
        operation: @escaping @Sendable @concurrent (Flight<Key>) async throws -> Value
    ) {
        self.core.refresh(self.core.key(key)) { flight in
            ErasedValue(try await operation(Flight(flight, key: key)))
        }
    }
}
