import NIOCore

/// Whether a server is known to be out of reach, as a value without I/O: then nobody waits for it.
///
/// A connection that breaks comes back within moments as a rule, and what is to be sent waits for it. Once there has
/// been none for as long as a command may take, commands are refused at once, until there is one: it is tried in the
/// background, one attempt at a time, and it counts once the handshake is done.
struct Outage {
    private let patience: TimeAmount
    /// Since when there is no connection, or nothing is heard on it; `nil` while there is one, and until one is needed.
    private var unconnectedSince: NIODeadline?

    /// - Parameter patience: how long there may be no connection before it counts.
    init(patience: TimeAmount) {
        self.patience = patience
    }

    /// There is no connection, since `time` or before.
    mutating func lacksConnection(since time: NIODeadline) {
        unconnectedSince = min(unconnectedSince ?? time, time)
    }

    mutating func connected() {
        unconnectedSince = nil
    }

    /// From when on the server counts as out of reach, unless there is a connection before.
    var beginsAt: NIODeadline? {
        unconnectedSince.map { $0 + patience }
    }

    func isKnown(now: NIODeadline) -> Bool {
        beginsAt.map { $0 <= now } ?? false
    }
}
