import Testing

@testable import SingleflightLease

/// Draws tokens that count up, and no jitter: every delay is the least that it can be.
struct CountingGenerator: RandomNumberGenerator {
    private var count: UInt64 = 0

    mutating func next() -> UInt64 {
        self.count += 1
        return self.count
    }
}

extension LeaseInstant {
    static func at(_ milliseconds: Int) -> LeaseInstant {
        LeaseInstant(sinceOrigin: .milliseconds(milliseconds))
    }
}

extension FlightTerms {
    /// Lease 3 s (a renewal each second, a margin of 150 ms), grace 2 s, an operation of at most 2 s, 100 ms for a
    /// request, 400 ms between two reports of progress.
    static func table(_ leaderLoss: LeaderLossPolicy = .takeOver(attempts: 1)) -> FlightTerms {
        FlightTerms(
            lease: LeaseTerms(
                duration: .seconds(3),
                grace: .seconds(2),
                retention: .seconds(4),
                leaderLoss: leaderLoss
            ),
            margin: .milliseconds(150),
            maximumFlight: .seconds(2),
            commandTimeout: .milliseconds(100),
            progressInterval: .milliseconds(400)
        )
    }
}

/// Writes actions in a form short enough for a table, with names for the tokens.
struct ActionText {
    var names: [LeaseToken: String]

    /// - Parameter ends: whether the phase is over with these actions.
    func text(_ actions: FlightActions, ends: Bool = false) -> String {
        (actions.map(self.text) + (ends ? ["finish"] : [])).joined(separator: ", ")
    }

    func text(_ step: Following.Step, ends: Bool) -> String {
        switch step {
        case .actions(let actions): self.text(actions, ends: ends)
        case .lead(let grant):
            "lead \(self.name(grant.token)) \(grant.attempt)\(grant.isAbandoned ? " abandoned" : "")"
        }
    }

    private func name(_ token: LeaseToken) -> String {
        self.names[token] ?? "new"
    }

    private func text(_ action: FlightAction) -> String {
        switch action {
        case .send(let request): self.text(request)
        case .startOperation: "run"
        case .moveOperation(let token): "move to \(self.name(token))"
        case .cancelOperation(let loss): "stop \(loss)"
        case .wake(let deadline): "wake \(Int(deadline.sinceOrigin / .milliseconds(1)))"
        case .tell(let end): "resolve \(self.text(end))"
        case .finish: "finish"
        }
    }

    private func text(_ request: FlightRequest) -> String {
        switch request {
        case .look: "look"
        case .enter(let token, let isRepetition, _): (isRepetition ? "enter again " : "enter ") + self.name(token)
        case .poll(let token, let mayEnd): (mayEnd ? "settle " : "poll ") + self.name(token)
        case .leave(let token): "leave \(self.name(token))"
        case .renew(let token, let renewals, let isAbandoned):
            "renew \(self.name(token)) \(renewals)\(isAbandoned ? " abandoned" : "")"
        case .complete(let token, let outcome): "complete \(self.name(token)) \(self.text(outcome))"
        case .release(let token, let mode): "release \(self.name(token)) \(mode)"
        case .revoke(let token, let reason): "revoke \(self.name(token)) \(reason)"
        }
    }

    private func text(_ end: FlightEnd) -> String {
        switch end {
        case .led(_, .accepted(let waiters), _): "accepted \(waiters.map { "\($0)" } ?? "-")"
        case .led(_, .unverified(let error), _): "unverified \(error.code)"
        case .followed(let token, let outcome, let isReused, let takeovers):
            "\(isReused ? "reused" : "followed") \(self.name(token)) \(self.text(outcome)) \(takeovers)"
        case .leaseLost(_, let reason): "lost \(reason.map { "\($0)" } ?? "-")"
        case .tooLong: "tooLong"
        case .leaderLeft: "left"
        case .ranAlone: "ran alone"
        case .leaderCanceled(let reason): "canceled \(reason)"
        case .gone(let token): "gone \(self.name(token))"
        case .lapsed(let token): "lapsed \(self.name(token))"
        case .absent: "absent"
        case .ledElsewhere: "led elsewhere"
        case .shutDown: "shutDown"
        case .unavailable(let error): "unavailable \(error.code)"
        }
    }

    private func text(_ outcome: StoredOutcome) -> String {
        switch outcome {
        case .value(let bytes): "\(bytes)"
        case .failure(let bytes): "failure \(bytes)"
        case .canceled(let reason): "\(reason)"
        }
    }
}
