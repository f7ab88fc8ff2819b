/// How much the streams of a ``StreamGroup`` may take.
public struct StreamLimits: Hashable, Sendable {
    /// How long all parts of one stream may be together, encoded, in bytes; each takes four more. A stream that is
    /// longer fails for everybody, with ``DistributedGroupError/Code/streamTooLong``. The store holds that much for
    /// each stream.
    public var maximumBytes: Int
    /// How many bytes may be written and not stored yet before ``StreamWriter/write(_:)`` waits.
    public var window: Int

    /// Creates limits.
    public init(maximumBytes: Int = 64 * 1024 * 1024, window: Int = 1024 * 1024) {
        self.maximumBytes = maximumBytes
        self.window = window
    }

    func check() throws(DistributedGroupError) {
        guard self.maximumBytes > 0, self.window > 0 else {
            throw DistributedGroupError(
                .invalidConfiguration,
                "the streams' maximumBytes is \(self.maximumBytes) and their window \(self.window), not both positive"
            )
        }
    }
}
