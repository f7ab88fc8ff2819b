import History
import SingleflightRedis

/// How one caller's wait ended.
package enum Ending: String, Codable, Sendable, CaseIterable {
    /// The result of its own operation, which the store accepted.
    case ownValue = "V"
    /// Another process's result, by an announcement.
    case pushedValue = "v"
    /// The same, by asking.
    case polledValue = "q"
    /// The flight was canceled: a lease ran out, or the leader shut down.
    case canceled = "c"
    /// Somebody ended the flight from outside.
    case revoked = "r"
    /// It led and lost its lease before its result was accepted.
    case leaseLost = "l"
    /// The store could not be asked; a typed error says so.
    case unavailable = "u"
    /// It left, as it was told to.
    case left = "x"
    /// Its process was killed.
    case killed = "k"
    /// It got something that it must not get.
    case wrong = "!"
    /// It did not come to an end in time.
    case hanging = "∞"
}

/// What a caller got, in a form that one process can tell another.
struct CallEnd: Codable, Sendable {
    var ending: Ending
    /// What it got, and of which flight.
    var value: String?
    var token: String?
    /// What it must not get.
    var surprise: String?

    /// The operations of the matrix return their process's name and their token.
    ///
    /// - Parameter hasLed: whether this caller's operation ran.
    init(_ outcome: Outcome<String>, hasLed: Bool) {
        self.ending = .wrong
        switch outcome {
        case .complete(let completion):
            self.token = completion.token?.description
            switch completion.result {
            case .success(let value):
                self.value = value
                self.ending = completion.source == .thisProcess ? .ownValue : .pushedValue
            case .failure(let error as DistributedGroupError) where error.code == .unavailable:
                self.ending = .unavailable
            case .failure(let error):
                self.surprise = "\(error)"
            }
        case .canceled(.callerCanceled):
            self.ending = .left
        case .canceled(.leaseLost):
            self.ending = .leaseLost
        case .canceled(.leaseExpired):
            self.ending = hasLed ? .leaseLost : .canceled
        case .canceled(.supersededTooOften), .canceled(.leaderShutDown), .canceled(.leaderLeft),
            .canceled(.storeLostFlight):
            self.ending = .canceled
        case .canceled(let reason) where reason.code == .revoked:
            self.ending = .revoked
        case .canceled(let reason):
            self.surprise = "\(reason)"
        }
    }
}

/// What must hold of every flight, however much went wrong: judged by what callers got, what ran, and the history.
struct FlightJudge {
    /// The tokens under which operations ran, in any process.
    var begun: [String]
    var history: LeaseHistory
    /// Whether somebody ended the flight from outside.
    var isRevoked = false
    var problems: [String] = []

    /// Judges what the caller of `process`, whose inbox is named, got; `nil` if it got nothing in time.
    mutating func judge(_ end: CallEnd?, of process: ProcessPart, inbox: String?) -> Ending {
        guard let end else {
            self.problems.append("the \(process.rawValue) hangs")
            return .hanging
        }
        if let surprise = end.surprise {
            self.problems.append("the \(process.rawValue) got \(surprise)")
        }
        if end.ending == .revoked, !self.isRevoked {
            self.problems.append("the \(process.rawValue)'s flight was revoked by nobody")
        }
        guard let value = end.value else { return end.ending }
        // I4: a value is that of an operation that ran under its flight's token.
        guard let token = end.token, value.hasSuffix(token), self.begun.contains(token) else {
            self.problems.append("the \(process.rawValue) got \(value), which is nobody's result")
            return .wrong
        }
        guard end.ending == .pushedValue else {
            // I6: who is told that its result stands has had it accepted.
            let isAccepted = self.history.records.contains { record in
                guard case .complete(token, _, _, _) = record.request else { return false }
                switch record.reply {
                case .accepted, .duplicate: return true
                default: return false
                }
            }
            if !isAccepted { self.problems.append("the \(process.rawValue) got \(value), which was not accepted") }
            return end.ending
        }
        let isHeard = self.history.records.contains { record in
            guard case .heard(token, _) = record.request else { return false }
            return record.process == inbox
        }
        return isHeard ? .pushedValue : .polledValue
    }

    /// I12 and the history as a whole. Open requests to lead may have been granted.
    mutating func judgeHistory() {
        let granted = Set(
            self.history.records.compactMap { record -> String? in
                guard case .enter(let token, _, _) = record.request else { return nil }
                if record.isOpen { return token }
                if case .lead = record.reply { return token }
                return nil
            }
        )
        if Set(self.begun).count != self.begun.count || !Set(self.begun).isSubset(of: granted) {
            self.problems.append("operations ran under \(self.begun), granted were \(granted.sorted())")
        }
        self.problems += self.history.violations()
    }
}
