import Logging
import NIOCore
import Synchronization

/// A `ConnectionKeeper` as seen from any thread: the part of the lifecycle that client and subscription share.
struct KeptConnection: Sendable {
    /// For use on the event loop.
    let keeper: NIOLoopBoundBox<ConnectionKeeper>
    private let end: EventLoopEnd

    init(
        configuration: RedisClientConfiguration,
        channel: String?,
        eventLoop: any EventLoop,
        end: EventLoopEnd,
        logger: Logger
    ) {
        self.end = end
        keeper = .makeBoxSendingValue(
            ConnectionKeeper(
                configuration: configuration,
                finder: configuration.finder
                    ?? configuration.makeFinder(on: eventLoop, end: end, logger: logger),
                channel: channel,
                eventLoop: eventLoop,
                logger: logger
            ),
            eventLoop: eventLoop
        )
    }

    private var eventLoop: any EventLoop { keeper.eventLoop }

    func start(_ delegate: any ConnectionKeeperDelegate & Sendable) {
        eventLoop.execute { [keeper] in keeper.value.start(delegate) }
    }

    func shutDown() async {
        let closed = ConnectionWaiter()
        // With the event loop its sockets are gone.
        let handler = end.whenCome { closed.resume(.success(())) }
        try? await withCheckedThrowingContinuation { continuation in
            closed.park(continuation)
            guard !end.hasCome else { return closed.resume(.success(())) }
            eventLoop.execute { [keeper] in
                keeper.value.shutDown().whenComplete { _ in closed.resume(.success(())) }
            }
        }
        end.forget(handler)
    }

    func connected(within limit: Duration) async throws {
        let waiter = ConnectionWaiter()
        let handler = end.whenCome { waiter.resume(.failure(RedisClientError.eventLoopEnded)) }
        defer { end.forget(handler) }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                waiter.park(continuation)
                guard !end.hasCome else { return waiter.resume(.failure(RedisClientError.eventLoopEnded)) }
                eventLoop.execute { [keeper] in keeper.value.add(waiter, within: limit) }
            }
        } onCancel: {
            waiter.cancel()
            eventLoop.execute { [keeper] in keeper.value.remove(waiter, resuming: .failure(CancellationError())) }
        }
    }
}

/// Somebody who waits for a connection to come up.
///
/// The event loop decides when to resume, unless it ends. A cancellation can reach it before the waiter does; the mark,
/// set before the event loop is told, covers that.
final class ConnectionWaiter: Sendable {
    private struct State {
        var isCancelled = false
        var continuation: CheckedContinuation<Void, any Error>?
        /// What a call to resume came with before anybody was parked.
        var early: Result<Void, any Error>?
    }

    private let state = Mutex(State())

    var isCancelled: Bool {
        state.withLock { $0.isCancelled }
    }

    func cancel() {
        state.withLock { $0.isCancelled = true }
    }

    func park(_ continuation: CheckedContinuation<Void, any Error>) {
        let early = state.withLock { state in
            if state.early == nil { state.continuation = continuation }
            return state.early
        }
        if let early { continuation.resume(with: early) }
    }

    /// Idempotent.
    func resume(_ result: Result<Void, any Error>) {
        let continuation = state.withLock { state in
            if state.early == nil { state.early = result }
            return state.continuation.take()
        }
        continuation?.resume(with: result)
    }
}
