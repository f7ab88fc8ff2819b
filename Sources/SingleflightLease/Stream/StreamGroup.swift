import Singleflight

/// Coalesces streams across processes: for each key, one caller in the whole cluster makes the parts, and every caller
/// gets all of them, in order, while they are made.
///
/// For a result that takes long and is of use before it is whole: a model's output, an export, a download. Parts are
/// stored under the flight's token before they are announced: a late caller gets everything from the first part, a slow
/// one slows nobody, and a lost message costs time, never a part. All other rules are those of a ``DistributedGroup``:
/// one leader, a lease, takeover, reuse, policies; but a lease that is lost ends its operation, whatever
/// ``DistributedGroupConfiguration/Lease/onLost`` says. By default the loss of a leader cancels the stream for
/// everybody; with ``LeaderLossPolicy/takeOver(attempts:)`` another caller begins anew.
///
/// Safe to use from any thread; make one per kind of stream and keep it.
public final class StreamGroup<Key: FlightKeyConvertible, Part: Sendable>: Sendable {
    /// The group's name: part of every key's identity in the store.
    public var name: String { self.core.name }
    /// The durations and rules that the group was made with.
    public var configuration: DistributedGroupConfiguration { self.core.configuration }
    /// How much a stream may take.
    public let limits: StreamLimits

    let core: GroupCore
    private let codec: any FlightCodec<Part>

    /// Makes a group whose parts cross processes by `codec`.
    ///
    /// - Parameters:
    ///   - name: 1 to 64 of `A-Za-z0-9._-`, as a ``DistributedGroup``'s. Give it to no group of another kind.
    ///   - store: where leases and parts are kept.
    ///   - configuration: the durations and rules; ``DistributedGroupConfiguration/Results/maximumBytes`` is the
    ///     longest part. Parts are kept for the lease's duration twice, its grace, and the results' retention or reuse
    ///     after the last was written, and longer for as long as somebody has not read them.
    ///   - limits: how much a stream may take.
    ///   - codec: turns parts into bytes and back.
    /// - Throws: ``DistributedGroupError`` of the code ``DistributedGroupError/Code/invalidConfiguration``.
    public init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init(),
        limits: StreamLimits = .init(),
        codec: any FlightCodec<Part>
    ) throws(DistributedGroupError) {
        try limits.check()
        var configuration = configuration
        configuration.lease.onLost = .cancel
        self.limits = limits
        self.codec = codec
        self.core = try GroupCore(
            name,
            store: store,
            configuration: configuration,
            codec: ErasedCodec(StreamEndCodec()),
            streams: limits
        )
    }

    /// The number of keys that callers of this process wait for.
    public var inFlight: Int { self.core.inFlight }

    /// The parts of `key`: from this call's operation, or from the one that runs already, here or in another process,
    /// from its first part on.
    ///
    /// The flight begins at once, whether somebody reads or not. It goes on until its operation ends, or the last
    /// caller anywhere has let go of its sequence.
    ///
    /// - Parameters:
    ///   - key: what to make.
    ///   - limit: how long this caller waits for the stream's end at most.
    ///   - unavailable: what this caller gets if the store cannot be asked; `nil` for the group's policy. Parts of an
    ///     operation that runs without a lease are kept in this process's memory, within the limits.
    ///   - operation: writes the parts, in a task of its own that inherits this caller's task-locals and priority. Its
    ///     return is the stream's end, its error that of everybody.
    public func stream(
        _ key: Key,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil,
        operation: @escaping @Sendable @concurrent (StreamWriter<Key, Part>) async throws -> Void
    ) -> FlightStream<Part> {
        let (core, codec) = (self.core, self.codec)
        let flightKey = core.key(key)
        let writing = { @Sendable @concurrent (flight: Flight<FlightKey>) async throws -> ErasedValue in
            try await core.write(flight) { writer in
                try await operation(
                    StreamWriter(
                        flight: Flight(flight, key: key),
                        core: writer,
                        maximumPartBytes: min(core.configuration.results.maximumBytes, StreamFrames.longestPart),
                        encode: { try codec.encode($0) }
                    )
                )
            }
        }
        return self.reading(flightKey) { reader in
            await core.run(
                flightKey,
                waitingAtMost: limit,
                unavailable: unavailable,
                stream: reader,
                operation: writing
            )
        }
    }

    /// The parts of the stream of `key` that is being made, here or elsewhere. This caller never leads.
    ///
    /// `Cancellation.noFlight` if there is none; see ``DistributedGroup/follow(_:waitingAtMost:)``.
    public func follow(_ key: Key, waitingAtMost limit: Duration? = nil) -> FlightStream<Part> {
        let core = self.core
        let flightKey = core.key(key)
        return self.reading(flightKey) { reader in
            await core.follow(flightKey, waitingAtMost: limit, stream: reader)
        }
    }

    private func reading(
        _ key: FlightKey,
        _ call: @escaping @Sendable (StreamReaderCore) async -> Outcome<ErasedValue>
    ) -> FlightStream<Part> {
        let codec = self.codec
        let metrics = self.core.observer?.metrics
        let reader = StreamReaderCore(key, self.core.context, self.core.streams)
        return FlightStream(
            reading: StreamReading(reader) { await call(reader) },
            decode: { bytes in
                metrics?.streamed(bytes.count, isRead: true)
                return try codec.decode(bytes)
            }
        )
    }
}

extension StreamGroup where Part: Codable {
    /// Makes a group whose parts cross processes as JSON.
    public convenience init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init(),
        limits: StreamLimits = .init()
    ) throws(DistributedGroupError) {
        try self.init(name, store: store, configuration: configuration, limits: limits, codec: JSONCodec<Part>())
    }
}

extension StreamGroup where Part == [UInt8] {
    /// Makes a group whose parts, bytes, cross processes as they are.
    public convenience init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration = .init(),
        limits: StreamLimits = .init()
    ) throws(DistributedGroupError) {
        try self.init(name, store: store, configuration: configuration, limits: limits, codec: BytesCodec())
    }
}
