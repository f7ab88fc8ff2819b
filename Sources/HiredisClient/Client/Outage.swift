import NIOCore

/// Whether a server is known to be out of reach, as a value without I/O: then nobody waits for it.
///
/// A connection that breaks comes back within moments as a rule, and what is to be sent waits for it. Once there has
/// been none for as long as a command may take, commands are refused at once, until there is one: it is tried in the
/// background, one attempt at a time, and it counts only when the server has run a script on it.
struct Outage {
    private enum State {
        /// There is a connection, or nobody has asked for one yet. → unconnected
        case none
        /// There is no connection, or nothing is heard on it. → none
        case unconnected(since: NIODeadline)
    }

    private let patience: TimeAmount
    private var state = State.none

    /// - Parameter patience: how long there may be no connection before it counts.
    init(patience: TimeAmount) {
        self.patience = patience
    }

    /// There is no connection, since `time` or before.
    mutating func lacksConnection(since time: NIODeadline) {
        switch state {
        case .none: state = .unconnected(since: time)
        case .unconnected(let earlier): state = .unconnected(since: min(earlier, time))
        }
    }

    mutating func connected() {
        state = .none
    }

    /// From when on the server counts as out of reach, unless there is a connection before.
    var beginsAt: NIODeadline? {
        switch state {
        case .none: nil
        case .unconnected(let since): since + patience
        }
    }

    func isKnown(now: NIODeadline) -> Bool {
        beginsAt.map { $0 <= now } ?? false
    }
}
