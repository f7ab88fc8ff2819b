import Logging
import NIOCore
import Synchronization

/// A `ConnectionKeeper` as seen from any thread: the part of the lifecycle that client and subscription share.
struct KeptConnection: Sendable {
    /// For use on the event loop.
    let keeper: NIOLoopBoundBox<ConnectionKeeper>

    init(configuration: RedisClientConfiguration, channel: String?, eventLoop: any EventLoop, logger: Logger) {
        keeper = .makeBoxSendingValue(
            ConnectionKeeper(configuration: configuration, channel: channel, eventLoop: eventLoop, logger: logger),
            eventLoop: eventLoop
        )
    }

    private var eventLoop: any EventLoop { keeper.eventLoop }

    func start(_ delegate: any ConnectionKeeperDelegate & Sendable) {
        eventLoop.execute { [keeper] in keeper.value.start(delegate) }
    }

    func shutDown() async {
        // Fails only if the event loop itself is gone already, and the socket with it.
        try? await eventLoop.flatSubmit { [keeper] in keeper.value.shutDown() }.get()
    }

    func connected(within limit: Duration) async throws {
        let waiter = ConnectionWaiter()
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                waiter.park(continuation)
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
/// The event loop alone decides when to resume. A cancellation can reach it before the waiter does; the mark, set
/// before the event loop is told, covers that.
final class ConnectionWaiter: Sendable {
    private struct State {
        var isCancelled = false
        var continuation: CheckedContinuation<Void, any Error>?
    }

    private let state = Mutex(State())

    var isCancelled: Bool {
        state.withLock { $0.isCancelled }
    }

    func cancel() {
        state.withLock { $0.isCancelled = true }
    }

    func park(_ continuation: CheckedContinuation<Void, any Error>) {
        state.withLock { $0.continuation = continuation }
    }

    /// Idempotent.
    func resume(_ result: Result<Void, any Error>) {
        state.withLock { $0.continuation.take() }?.resume(with: result)
    }
}
