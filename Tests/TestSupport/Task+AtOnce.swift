extension Task where Failure == Never {
    /// A task that has come to its first suspension, or to its end, when this returns: it has joined its flight by
    /// then.
    public static func atOnce(
        priority: TaskPriority? = nil,
        _ work: @escaping @Sendable () async -> Success
    ) -> Task<Success, Never> {
        guard #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) else {
            preconditionFailure("these tests need a system that has Task.immediate")
        }
        return Task.immediate(priority: priority) { await work() }
    }
}
