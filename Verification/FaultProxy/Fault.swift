/// What goes wrong with one of a client's connections. *The frame* is the one at which the fault strikes; on a
/// connection on which none travels just then, it is the next one.
package enum Fault: String, Sendable, CaseIterable {
    /// The connection is closed, and the command does not reach the server.
    case cutBeforeRequest
    /// The command is carried out; the connection is closed instead of its reply.
    case cutBeforeReply
    /// As the two before, but the connection is reset (RST).
    case resetBeforeRequest
    case resetBeforeReply
    /// Half of the reply arrives, then the connection is closed.
    case truncatedReply
    /// The reply, and what comes after it, is late, but within the command timeout.
    case latency
    /// The reply comes after the command timeout.
    case lateReply
    /// Every frame in both directions is late by a random time from now on; the order stays.
    case jitter
    /// Every byte in both directions travels alone from now on.
    case slices
    /// For the time of an outage nothing reaches the server, and nobody is told; connections stay open, and dead.
    case blackHoleToServer
    /// For the time of an outage nothing comes back; commands are carried out.
    case blackHoleToClient
    /// The client reads the end of the stream, and the connection is still there.
    case halfCloseToClient
    /// The server reads the end of the stream.
    case halfCloseToServer
    /// The connection is reset, and connecting is refused for the time of an outage.
    case refuse
    /// Every message of the inbox is lost.
    case loseAnnouncements
    /// The command waits in the proxy, with all that follows, until ``FaultProxy/letGo()``.
    case holdRequest
    /// The reply waits likewise.
    case holdReply

    /// What networks do by themselves: the fourteen of the matrix.
    package static var ofNetworks: [Fault] {
        self.allCases.filter { ![.loseAnnouncements, .holdRequest, .holdReply].contains($0) }
    }

    /// How long the client cannot be expected to reach the server from then on.
    package func outage(_ times: FaultTimes) -> Duration {
        switch self {
        case .blackHoleToServer, .blackHoleToClient, .refuse: times.outage
        case .lateReply: times.lateness
        case .latency: times.latency
        default: .zero
        }
    }
}

/// How long a proxy's faults last.
package struct FaultTimes: Sendable {
    /// Of ``Fault/latency``.
    package var latency: Duration
    /// Of ``Fault/lateReply``.
    package var lateness: Duration
    /// The most that ``Fault/jitter`` adds to a frame.
    package var jitter: Duration
    /// Of black holes and refused connections.
    package var outage: Duration

    package init(latency: Duration, lateness: Duration, jitter: Duration, outage: Duration) {
        self.latency = latency
        self.lateness = lateness
        self.jitter = jitter
        self.outage = outage
    }
}
