import SingleflightRedis
import Synchronization

/// Prints what a command prints elsewhere, as it comes.
final class LiveOutput: Sendable {
    private struct State {
        var printed = 0
        var closed: Set<CommandRecording.Stream> = []
        var failure: (any Error)?
    }

    private let state = Mutex(State())
    private let shownKey: String
    /// Whether the command runs here, where its output is printed anyway.
    private let isOwn: @Sendable () -> Bool

    init(of shownKey: String, unless isOwn: @escaping @Sendable () -> Bool = { false }) {
        self.shownKey = shownKey
        self.isOwn = isOwn
    }

    /// A piece of output, as followers are told of it: the number of its stream in front.
    static func part(_ bytes: ArraySlice<UInt8>, of stream: CommandRecording.Stream) -> [UInt8] {
        [stream.rawValue] + bytes
    }

    func hears(_ event: LiveEvent) {
        guard !isOwn() else { return }
        switch event {
        case .part(let part): print(part)
        case .restarted: beginsAnew()
        }
    }

    /// Prints what has not been printed of an output that is whole now.
    ///
    /// - Parameter isContinued: whether it is of the run whose beginning was printed.
    func finish(_ recording: CommandRecording, isContinued: Bool) throws {
        if !isContinued { beginsAnew() }
        let (printed, failure) = state.withLock { ($0.printed, $0.failure) }
        if let failure { throw failure }
        try recording.replay(behind: printed)
    }

    private func print(_ part: [UInt8]) {
        guard let stream = part.first.flatMap(CommandRecording.Stream.init(rawValue:)) else { return }
        let bytes = Array(part.dropFirst())
        let isOpen = state.withLock { state in
            state.printed += bytes.count
            return !state.closed.contains(stream) && state.failure == nil
        }
        guard isOpen else { return }
        do {
            try StandardStream(stream).write(bytes)
        } catch is OutputClosed {
            state.withLock { _ = $0.closed.insert(stream) }
        } catch {
            state.withLock { $0.failure = error }
        }
    }

    /// Another run begins. Somebody who has seen output of an earlier one is told.
    func beginsAnew() {
        let printed = state.withLock { state in
            defer { state.printed = 0 }
            return state.printed
        }
        if printed > 0 { ErrorLine.note("\(shownKey) runs anew: what it printed before does not count") }
    }
}
