import Singleflight
import Synchronization

/// The parts of one flight, from the first, for one caller.
///
/// It begins when it is made, and the caller counts as one that waits for the flight as long as the sequence, or an
/// iterator of it, lives. It ends where all parts were given and the flight has ended with a result. Anything else is
/// an error, after the parts that came before: nobody takes a cut for the end. A reader may stop for as long as it
/// likes: it holds no more in memory than its place, and what it has not read yet is kept for it.
///
/// For one task at a time: of two that read at once the second gets ``DistributedGroupError/Code/streamMisused``. A
/// task that is canceled while it waits gives up the stream, and gets `CancellationError`.
public struct FlightStream<Part: Sendable>: AsyncSequence, Sendable {
    /// A part.
    public typealias Element = Part
    /// What the operation threw, as ``DistributedGroup/value(_:waitingAtMost:unavailable:operation:)`` tells it;
    /// `Cancellation`; or ``DistributedGroupError``.
    public typealias Failure = any Error

    let reading: StreamReading
    let decode: @Sendable ([UInt8]) throws -> Part

    /// What happens in the stream, for readers that can begin anew.
    public var events: Events { Events(stream: self) }

    /// Lets go of the stream, as if no sequence or iterator of this call lived any more: a task that waits for the next
    /// part gets `CancellationError`, and so does each that asks later. Idempotent.
    public func cancel() { self.reading.leave(CancellationError()) }

    /// Begins to read, or goes on where another iterator has stopped.
    public func makeAsyncIterator() -> Iterator { Iterator(events: self.events.makeAsyncIterator()) }

    /// Reads part by part.
    public struct Iterator: AsyncIteratorProtocol {
        /// A part.
        public typealias Element = Part
        /// As the sequence's.
        public typealias Failure = any Error

        var events: Events.Iterator

        /// The next part; `nil` after the last.
        ///
        /// - Throws: ``DistributedGroupError`` of the code ``DistributedGroupError/Code/streamRestarted`` if the leader
        ///   was lost and another one begins anew, and parts were read already; see ``FlightStream/events``.
        public mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws -> Part? {
            switch try await self.events.next(isolation: actor) {
            case .part(let part): return part
            case nil: return nil
            case .restarted:
                self.events.stream.reading.leave(DistributedGroupError.streamRestarted)
                throw DistributedGroupError.streamRestarted
            }
        }
    }

    /// What happens in a stream.
    public enum Event: Sendable {
        /// The next part.
        case part(Part)
        /// The leader was lost, and another one begins anew: what came before is void.
        case restarted
    }

    /// The parts, and whatever makes those before void.
    public struct Events: AsyncSequence, Sendable {
        /// What happens.
        public typealias Element = Event
        /// As the sequence's of parts.
        public typealias Failure = any Error

        let stream: FlightStream

        /// Begins to read, or goes on where another iterator has stopped.
        public func makeAsyncIterator() -> Iterator { Iterator(stream: self.stream) }

        /// Reads event by event.
        public struct Iterator: AsyncIteratorProtocol {
            /// What happens.
            public typealias Element = Event
            /// As the sequence's of parts.
            public typealias Failure = any Error

            let stream: FlightStream

            /// The next event; `nil` after the last part.
            public mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws -> Event? {
                switch try await self.stream.reading.next() {
                case nil: return nil
                case .restarted: return .restarted
                case .part(let bytes):
                    do {
                        return .part(try self.stream.decode(bytes))
                    } catch {
                        let error = DistributedGroupError(
                            .decodingFailed,
                            "a part could not be decoded: \(error)",
                            underlying: error
                        )
                        self.stream.reading.leave(error)
                        throw error
                    }
                }
            }
        }
    }
}

/// A caller's place in a flight, for as long as somebody holds it.
final class StreamReading: Sendable {
    private let core: StreamReaderCore
    private let call: Task<Void, Never>

    /// - Parameter call: waits for the flight's end, and hands `core` to it.
    init(_ core: StreamReaderCore, call: @escaping @Sendable () async -> Outcome<ErasedValue>) {
        self.core = core
        self.call = Task { core.ended(await call()) }
    }

    deinit {
        self.leave(CancellationError())
    }

    nonisolated(nonsending) func next() async throws -> StreamReaderCore.Item? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                self.core.next { continuation.resume(with: $0) }
                if Task.isCancelled { self.leave(CancellationError()) }
            }
        } onCancel: {
            self.leave(CancellationError())
        }
    }

    /// Gives up the stream.
    func leave(_ error: any Error) {
        self.core.leave(error)
        self.call.cancel()
    }
}
