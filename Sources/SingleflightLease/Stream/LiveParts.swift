package import Singleflight

/// Tells parts of a result while its operation goes on: beside the result itself, which says everything again.
package struct LiveWriter: Sendable {
    let core: StreamWriterCore

    /// Tells a part, in the order of the calls, without waiting. What cannot be passed on is left out, and so is
    /// everything behind it.
    package func write(_ part: [UInt8]) {
        self.core.write(part) { _ in }
    }
}

/// What a caller hears of a result while it is made.
package enum LiveEvent: Sendable {
    case part([UInt8])
    /// What came before is void: another run of the operation begins anew.
    case restarted
}

/// What a call heard before its outcome.
package struct LiveOutcome<Value: Sendable>: Sendable {
    package var outcome: Outcome<Value>
    /// Whether the parts that were told are of the run whose outcome it is.
    package var isOfParts: Bool
}

extension DistributedGroup {
    /// Makes a group whose operations tell parts of their results. Parts that an operation tells after its lease was
    /// lost reach nobody.
    package convenience init(
        _ name: String,
        store: any LeaseStore,
        configuration: DistributedGroupConfiguration,
        codec: any FlightCodec<Value>,
        live: StreamLimits
    ) throws(DistributedGroupError) {
        try self.init(name, store: store, configuration: configuration, codec: codec, runtime: .standard, live: live)
    }

    /// As ``run(_:waitingAtMost:unavailable:operation:)``; until the outcome is known `onEvent` hears the parts that
    /// the operation tells, wherever it runs, from the first on.
    package func run(
        _ key: Key,
        onEvent: (@Sendable (LiveEvent) -> Void)?,
        operation: @escaping @Sendable @concurrent (Flight<Key>, LiveWriter) async throws -> Value
    ) async -> LiveOutcome<Value> {
        let core = self.core
        let body = { @Sendable @concurrent (flight: Flight<FlightKey>) async throws -> ErasedValue in
            guard let driver = flight.driver else { throw DistributedGroupError.streamEnded }
            let writer = StreamWriterCore(driver, token: flight.token, core.streams, isNoted: false)
            defer {
                writer.stop(CancellationError())
                writer.finish { _ in }
            }
            return ErasedValue(try await operation(Flight(flight, key: key), LiveWriter(core: writer)))
        }
        return await self.live(key, onEvent) { key, reader in
            await core.run(key, waitingAtMost: nil, unavailable: nil, stream: reader, operation: body)
        }
    }

    /// As ``follow(_:waitingAtMost:)``, with parts as ``run(_:onEvent:operation:)``.
    package func follow(
        _ key: Key,
        waitingAtMost limit: Duration?,
        onEvent: (@Sendable (LiveEvent) -> Void)?
    ) async -> LiveOutcome<Value> {
        let core = self.core
        return await self.live(key, onEvent) { key, reader in
            await core.follow(key, waitingAtMost: limit, stream: reader)
        }
    }

    private func live(
        _ key: Key,
        _ onEvent: (@Sendable (LiveEvent) -> Void)?,
        _ call: (FlightKey, StreamReaderCore?) async -> Outcome<ErasedValue>
    ) async -> LiveOutcome<Value> {
        let key = self.core.key(key)
        guard let onEvent else {
            let outcome = await call(key, nil).map { try $0.value(as: Value.self) }
            return LiveOutcome(outcome: outcome, isOfParts: false)
        }
        let reader = StreamReaderCore(key, self.core.context, self.core.streams)
        async let reading: Void = {
            while let item = await reader.next() {
                switch item {
                case .part(let part): onEvent(.part(part))
                case .restarted: onEvent(.restarted)
                }
            }
        }()
        let outcome = await call(key, reader)
        reader.leave(CancellationError())
        await reading
        let isOfParts =
            if case .complete(let completion) = outcome, let token = completion.token {
                reader.lastGiven == .led(token)
            } else {
                false
            }
        return LiveOutcome(outcome: outcome.map { try $0.value(as: Value.self) }, isOfParts: isOfParts)
    }
}

extension StreamReaderCore {
    /// The next item; `nil` where no more come, for whatever reason.
    fileprivate nonisolated(nonsending) func next() async -> Item? {
        await withCheckedContinuation { continuation in
            self.next { continuation.resume(returning: (try? $0.get()) ?? nil) }
        }
    }
}
