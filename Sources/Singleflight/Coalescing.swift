/// What a service needs of a group: a local one in its tests, a distributed one in its cluster.
///
/// ```swift
/// struct Profiles {
///     let flights: any Coalescing<String, Profile>
///
///     func profile(_ id: String) async throws -> Profile {
///         try await flights.value(id) { try await database.profile(id) }
///     }
/// }
/// ```
///
/// What an operation throws a local group passes on as it is. A distributed group does so by its `typedFailures` only: a
/// service that catches errors of its own gives it such a rule.
public protocol Coalescing<Key, Value>: Sendable {
    /// What tells flights apart.
    associatedtype Key: Hashable & Sendable
    /// What operations compute.
    associatedtype Value: Sendable

    /// The outcome of `key`: from this call's operation, or from the one that runs already.
    nonisolated(nonsending) func coalesced(
        _ key: Key,
        operation: @escaping @Sendable () async throws -> Value
    ) async -> Outcome<Value>
}

extension Coalescing {
    /// The value of `key`: from this call's operation, or from the one that runs already.
    ///
    /// - Throws: as ``Outcome/get()``.
    nonisolated(nonsending) public func value(
        _ key: Key,
        operation: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await self.coalesced(key, operation: operation).get()
    }
}

extension Group: Coalescing {
    /// The same as ``run(_:cancellation:operation:)`` by the group's own policy.
    nonisolated(nonsending) public func coalesced(
        _ key: Key,
        operation: @escaping @Sendable () async throws -> Value
    ) async -> Outcome<Value> {
        await self.run(key, operation: operation)
    }
}
