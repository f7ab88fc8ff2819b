/// What the operation of a stream writes to.
///
/// Safe to use from any thread. Parts of one task come in the order of its calls; of several tasks, in the order in
/// which their calls are let go on.
public struct StreamWriter<Key: Sendable, Part: Sendable>: Sendable {
    /// The flight that the operation runs for.
    public let flight: Flight<Key>
    let core: StreamWriterCore
    let maximumPartBytes: Int
    let encode: @Sendable (Part) throws -> [UInt8]

    /// Writes one more part, for everybody who reads the stream, here and elsewhere.
    ///
    /// Returns when the part is on its way and no more than the window of bytes is not stored yet
    /// (``StreamLimits/window``). How fast readers are plays no part: they read from the store.
    ///
    /// - Throws: `CancellationError` if the task is canceled; `Cancellation` if the lease is lost;
    ///   ``DistributedGroupError`` if the part or the stream is too long, the stream has ended, or the store refuses
    ///   it. After any error but `CancellationError`, the stream takes no more parts, and fails for everybody.
    public func write(_ part: Part) async throws {
        let bytes: [UInt8]
        do {
            bytes = try self.encode(part)
        } catch {
            let error = DistributedGroupError(
                .encodingFailed,
                "a part could not be encoded: \(error)",
                underlying: error
            )
            self.core.refuse(error)
            throw error
        }
        guard bytes.count <= self.maximumPartBytes else {
            let error = DistributedGroupError.partTooLong(bytes.count, self.maximumPartBytes)
            self.core.refuse(error)
            throw error
        }
        try await self.core.write(bytes)
    }
}
