import Dispatch
import Synchronization

/// Where code runs that is not this package's own, and where flights draw their random numbers from.
///
/// Codecs, typed failures, handlers, loggers, metrics and spans are foreign code: it may be slow or block, and must do
/// so on no store's thread, where renewals run.
package struct FlightRuntime: Sendable {
    /// Calls `work` once, soon, on a thread that it may block.
    package var offload: @Sendable (_ work: @escaping @Sendable () -> Void) -> Void
    /// The random numbers of one more flight.
    package var random: @Sendable () -> FlightRandom

    package init(
        offload: @escaping @Sendable (_ work: @escaping @Sendable () -> Void) -> Void,
        random: @escaping @Sendable () -> FlightRandom
    ) {
        self.offload = offload
        self.random = random
    }

    /// Foreign code runs on threads of its own, one more for each piece that blocks.
    ///
    /// A queue for each piece: a concurrent queue shares no more threads than there are processors, so that a few
    /// pieces which block would hold up all others.
    package static let standard = FlightRuntime(
        offload: { work in DispatchQueue(label: "singleflight.foreign-code").async(execute: work) },
        random: { .system }
    )

    /// Foreign code runs where it is asked for: for simulations, which have one thread.
    package static func inline(random: @escaping @Sendable () -> FlightRandom) -> FlightRuntime {
        FlightRuntime(offload: { work in work() }, random: random)
    }
}

/// Runs foreign code one piece after the other, in the order in which the pieces were handed over.
package final class SerialWork: Sendable {
    private struct State {
        var pieces: [@Sendable () -> Void] = []
        var isRunning = false
    }

    private let runtime: FlightRuntime
    private let state = Mutex(State())

    package init(on runtime: FlightRuntime) {
        self.runtime = runtime
    }

    package func run(_ piece: @escaping @Sendable () -> Void) {
        let mustStart = self.state.withLock { state in
            state.pieces.append(piece)
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard mustStart else { return }
        self.runtime.offload {
            while let pieces = self.take() {
                for piece in pieces { piece() }
            }
        }
    }

    private func take() -> [@Sendable () -> Void]? {
        self.state.withLock { state in
            guard !state.pieces.isEmpty else {
                state.isRunning = false
                return nil
            }
            defer { state.pieces = [] }
            return state.pieces
        }
    }
}
