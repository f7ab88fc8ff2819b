@preconcurrency import Dispatch
import Foundation

/// Signals that are for the command as much as for us: they are caught and handed on.
struct ForwardedSignals: Sendable {
    /// Those that were ignored when we were started, as under `nohup`, and still are.
    let ignored: [Int32]
    private let sources: [any DispatchSourceSignal]

    private static let numbers = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT, SIGUSR1, SIGUSR2, SIGWINCH]

    /// Calls `handler` with each signal, on a queue of its own, until the process ends.
    init(_ handler: @escaping @Sendable (Int32) -> Void) {
        let queue = DispatchQueue(label: "singleflight.signals")
        var ignored: [Int32] = []
        var sources: [any DispatchSourceSignal] = []
        for number in Self.numbers {
            // SIG_IGN is a number that Swift sees as a function.
            let wasIgnored =
                unsafeBitCast(signal(number, SIG_IGN), to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
            // SIGCONT continues us whether it is ignored or not, and the command has to follow.
            if wasIgnored, number != SIGCONT {
                ignored.append(number)
                continue
            }
            #if !canImport(Darwin)
                // Here an ignored signal is not even reported; Dispatch sets a handler of its own.
                signal(number, SIG_DFL)
            #endif
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { handler(number) }
            source.resume()
            sources.append(source)
        }
        (self.ignored, self.sources) = (ignored, sources)
    }
}
