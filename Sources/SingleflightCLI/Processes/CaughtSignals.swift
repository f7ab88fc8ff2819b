@preconcurrency import Dispatch
import Foundation

/// Signals that are caught and handed on, instead of ending this process. One that was ignored when the process
/// started, as under `nohup`, still is.
struct CaughtSignals: Sendable {
    private let sources: [any DispatchSourceSignal]

    /// Calls `handler` with each signal, on a queue of its own, for as long as this value is kept.
    init(_ numbers: [CInt], _ handler: @escaping @Sendable (CInt) -> Void) {
        let queue = DispatchQueue(label: "singleflight.signals")
        let ignored = InheritedState.current.ignoredSignals
        // SIGCONT continues a process whether it is ignored or not, and what waits for it has to follow.
        sources = numbers.filter { !ignored.contains($0) || $0 == SIGCONT }.map { number in
            #if canImport(Darwin)
                signal(number, SIG_IGN)
            #else
                // Here an ignored signal is not even reported; Dispatch sets a handler of its own.
                signal(number, SIG_DFL)
            #endif
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { handler(number) }
            source.resume()
            return source
        }
    }
}
