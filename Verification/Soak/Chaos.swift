import SingleflightRedis

/// The troubles of a soak: one a second, drawn from a seed.
enum Chaos: String, CaseIterable, Codable {
    case killWorker = "a worker killed"
    case restartWorker = "a worker restarted in good order"
    case pauseWorker = "a worker paused"
    case killCommandConnections = "all command connections cut"
    case killInboxConnections = "all inbox connections cut"
    case flushScripts = "scripts flushed"
    case pauseServer = "the server paused"
    case blockServer = "the server blocked by a command"
    case pauseClients = "all clients paused by the server"
    case pauseWrites = "all writes paused by the server"
    case none = "nothing"

    /// The trouble of one second, and for how long where it lasts: from a fraction of a lease to beyond it.
    static func draw(using random: inout FlightRandom) -> (chaos: Chaos, lasting: Duration) {
        (allCases.randomElement(using: &random) ?? .none, .milliseconds(Int.random(in: 30...400, using: &random)))
    }
}
