import ArgumentParser
import SingleflightRedis

/// The troubles of a soak: one a second, drawn from a seed.
enum Chaos: String, CaseIterable, Codable, Sendable {
    case killWorker = "a worker killed"
    case restartWorker = "a worker restarted in good order"
    case shutDownUnderLoad = "a worker shut down while its calls went on"
    case otherSettings = "a worker replaced by one with other settings"
    case pauseWorker = "a worker paused"
    case slowLink = "a worker's link slow"
    case bigValues = "big values asked of a worker"
    case killCommandConnections = "all command connections cut"
    case killInboxConnections = "all inbox connections cut"
    case flushScripts = "scripts flushed"
    case pauseServer = "the server paused"
    case blockServer = "the server blocked by a command"
    case pauseClients = "all clients paused by the server"
    case pauseWrites = "all writes paused by the server"
    case restartEmpty = "the server restarted empty"
    case longOutage = "the server away for long"
    case none = "nothing"

    /// How often it is drawn, beside the others.
    var weight: Int {
        switch self {
        // Takes a minute, in which little else can be tried.
        case .longOutage: 1
        // Ends every lease.
        case .restartEmpty: 8
        default: 24
        }
    }

    /// The seconds for which it is not made again.
    var rest: Int {
        switch self {
        case .restartEmpty: 4
        case .longOutage: 15
        default: 1
        }
    }

    /// Whether it is done to the server, which then must be there.
    var needsServer: Bool {
        switch self {
        case .killWorker, .restartWorker, .shutDownUnderLoad, .otherSettings, .pauseWorker, .slowLink, .bigValues,
            .none:
            false
        case .killCommandConnections, .killInboxConnections, .flushScripts, .pauseServer, .blockServer, .pauseClients,
            .pauseWrites, .restartEmpty, .longOutage:
            true
        }
    }
}

extension Chaos: ExpressibleByArgument {
    init?(argument: String) {
        guard let found = Self.allCases.first(where: { "\($0)" == argument }) else { return nil }
        self = found
    }

    static var allValueStrings: [String] { Self.allCases.map { "\($0)" } }
    var defaultValueDescription: String { "\(self)" }
}

/// All that is drawn for one second, whatever of it is used: the next second's draw does not depend on it.
struct TroublePlan: Equatable {
    var chaos: Chaos
    /// For how long where it lasts: from a fraction of a lease to beyond it.
    var lasting: Duration
    /// The same for what lasts longer.
    var seconds: Int
    /// Chooses the worker.
    var worker: UInt64
    /// Of the worker that is started.
    var seed: UInt64
    /// The settings of a worker that differs.
    var settings: UInt64
    /// What a slow link carries: from what hardly carries the requests to what a big value takes a second for.
    var bytesPerSecond: Int

    init(from choice: [Chaos], using random: inout FlightRandom) {
        let weights = choice.reduce(0) { $0 + $1.weight }
        var drawn = weights > 0 ? Int.random(in: 0..<weights, using: &random) : 0
        self.chaos =
            choice.first { chaos in
                drawn -= chaos.weight
                return drawn < 0
            } ?? .none
        self.lasting = .milliseconds(Int.random(in: 30...400, using: &random))
        self.seconds = Int.random(in: 0...3, using: &random)
        self.worker = random.next()
        self.seed = random.next() >> 1
        self.settings = UInt64.random(in: 1...1_000_000, using: &random)
        self.bytesPerSecond = 30_000 << Int.random(in: 0...7, using: &random)
    }
}
