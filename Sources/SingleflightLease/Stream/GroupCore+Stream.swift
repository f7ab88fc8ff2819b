import Singleflight

extension GroupCore {
    /// The limits of the group's streams.
    var streams: StreamTerms {
        self.context.streams ?? StreamTerms(maximumBytes: 0, window: 0, self.context.terms)
    }

    /// Runs an operation that writes a stream.
    ///
    /// What it wrote before it threw is stored before its error is.
    @concurrent
    func write(
        _ flight: Flight<FlightKey>,
        _ operation: (StreamWriterCore) async throws -> Void
    ) async throws -> ErasedValue {
        guard let driver = flight.driver else { throw DistributedGroupError.streamEnded }
        let observer = self.observer
        let writer = StreamWriterCore(driver, token: flight.token, self.streams) { bytes in
            // On the store's thread, where a metrics backend must not run.
            if let metrics = observer?.metrics {
                observer?.work.run { metrics.streamed(bytes, isRead: false) }
            }
        }
        let result: Result<Void, any Error>
        do {
            result = .success(try await operation(writer))
        } catch {
            result = .failure(error)
        }
        let end: StreamEnd
        do {
            end = try await writer.finish()
        } catch let error as DistributedGroupError {
            throw StreamFailure(told: error)
        } catch {
            try result.get()
            throw error
        }
        try result.get()
        return ErasedValue(end)
    }
}

/// What an operation comes to whose stream could not be stored, whatever it returned or threw.
private struct StreamFailure: GroupFailure {
    let told: DistributedGroupError
}
