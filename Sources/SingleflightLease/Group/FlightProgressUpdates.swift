import Singleflight
import Synchronization

/// What a flight's operation says of its progress, as a sequence that ends with the flight.
///
/// It begins with the latest report, if there is one. A reader that is slower than the reports gets the newest and none of
/// those before. What is reported in this process comes at once, what is reported in another comes as that one renews its
/// lease: at most once in ``DistributedGroupConfiguration/Limits/progressInterval``, and perhaps never if messages are lost.
/// Each iterator is independent and starts with the latest report at the time it is made; it ends early where its task is
/// canceled.
public struct FlightProgressUpdates: AsyncSequence, Sendable {
    /// What is reported.
    public typealias Element = FlightProgress
    /// It never fails.
    public typealias Failure = Never

    private let source: any ProgressSource

    init(of source: any ProgressSource) {
        self.source = source
    }

    /// Begins to read.
    public func makeAsyncIterator() -> Iterator {
        Iterator(reading: ProgressReading(of: self.source))
    }

    /// Reads reports one by one.
    public struct Iterator: AsyncIteratorProtocol {
        /// What is reported.
        public typealias Element = FlightProgress
        /// It never fails.
        public typealias Failure = Never

        fileprivate let reading: ProgressReading

        /// The next report; `nil` once the flight has ended, and where the task is canceled.
        public mutating func next() async -> FlightProgress? {
            await self.reading.feed.next()
        }

        /// The next report; `nil` once the flight has ended, and where the task is canceled.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> FlightProgress? {
            await self.reading.feed.next()
        }
    }
}

/// A flight, as those see it who read its progress.
package protocol ProgressSource: Sendable {
    func attach(_ feed: ProgressFeed)
    func detach(_ feed: ProgressFeed)
}

/// Attached to its source for as long as somebody holds it.
private final class ProgressReading: Sendable {
    let feed = ProgressFeed()
    private let source: any ProgressSource

    init(of source: any ProgressSource) {
        self.source = source
        source.attach(self.feed)
    }

    deinit {
        self.source.detach(self.feed)
    }
}

/// Hands the newest report to one reader.
package final class ProgressFeed: Sendable {
    private struct State {
        var newest: (serial: UInt64, progress: FlightProgress)?
        var lastRead: UInt64 = 0
        var isFinished = false
        var reader: CheckedContinuation<FlightProgress?, Never>?

        /// The newest report, if it was not read yet.
        mutating func take() -> FlightProgress? {
            let isNew = newest?.serial ?? 0 > self.lastRead || Planted.bug("report-told-again")
            guard let newest, isNew else { return nil }
            self.lastRead = newest.serial
            return newest.progress
        }
    }

    private let state = Mutex(State())

    private let endsWithFlight: Bool

    /// - Parameter endsWithFlight: whether no more reports come after the flight's end. A call may go on in another flight.
    package init(endsWithFlight: Bool = true) {
        self.endsWithFlight = endsWithFlight
    }

    /// A flight begins to offer its reports, which it counts from 1.
    func begin() {
        self.state.withLock { state in
            state.newest = nil
            state.lastRead = 0
        }
    }

    /// The flight has ended.
    func flightEnded() {
        if self.endsWithFlight { self.finish() }
    }

    /// The newest report, if it was not read yet.
    package func take() -> FlightProgress? {
        self.state.withLock { $0.take() }
    }

    /// - Parameter serial: counts the flight's reports from 1: threads may offer them in another order.
    func offer(_ progress: FlightProgress, serial: UInt64) {
        let reader = self.state.withLock { state -> CheckedContinuation<FlightProgress?, Never>? in
            guard serial > state.newest?.serial ?? 0, !state.isFinished else { return nil }
            state.newest = (serial, progress)
            guard let reader = state.reader.take() else { return nil }
            state.lastRead = serial
            return reader
        }
        reader?.resume(returning: progress)
    }

    /// No more reports will come. The newest may still be read.
    func finish() {
        let reader = self.state.withLock { state in
            state.isFinished = true
            return state.reader.take()
        }
        reader?.resume(returning: nil)
    }

    func next() async -> FlightProgress? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let known: FlightProgress?? = self.state.withLock { state in
                    if let progress = state.take() { return .some(progress) }
                    // A second reader at the same time gets nothing: an iterator is for one task.
                    guard !state.isFinished, !Task.isCancelled, state.reader == nil else { return .some(nil) }
                    state.reader = continuation
                    return .none
                }
                if let known {
                    continuation.resume(returning: known)
                }
            }
        } onCancel: {
            let reader = self.state.withLock { $0.reader.take() }
            reader?.resume(returning: nil)
        }
    }
}
