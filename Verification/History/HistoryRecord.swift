import SingleflightLease

/// One line of a history: a request as it was sent, or its end. The two lines of a request share process and sequence
/// number, so that a request whose process was killed is known to have been under way.
struct HistoryLine: Codable {
    /// In nanoseconds, on a clock that all processes of the history share.
    var at: Int64
    var process: String
    var sequence: Int
    var key: String?
    var request: HistoryRequest?
    var reply: HistoryReply?
}

/// A request, and what became of it as far as its process knows.
package struct HistoryRecord: Hashable {
    package var process: String
    package var sequence: Int
    package var key: String
    package var request: HistoryRequest
    package var invoked: Int64
    /// `nil` if no answer is recorded: the process may have ended before it came.
    package var returned: Int64?
    package var reply: HistoryReply?

    /// Whether the request may have been carried out at any time after its sending, or not at all.
    package var isOpen: Bool {
        switch self.reply {
        case nil, .failed(_, mayHaveExecuted: true): true
        default: false
        }
    }

    /// Whether the request was certainly not carried out.
    package var isVoid: Bool {
        switch self.reply {
        // A request that came too late has no effect, and the store may find any request late.
        case .failed(_, mayHaveExecuted: false), .late: true
        default: false
        }
    }
}

/// A request's arguments as far as decisions depend on them; or an announcement that was heard, which reads what was
/// decided.
package enum HistoryRequest: Hashable, Codable {
    case enter(token: String, terms: HistoryTerms, isRepetition: Bool)
    case renew(token: String, terms: HistoryTerms, isAbandoned: Bool)
    case complete(token: String, outcome: HistoryOutcome, reuse: Int64, keepsEarlier: Bool = false)
    case release(token: String, mode: String)
    case poll(token: String, mayEnd: Bool)
    case leave(token: String)
    case fence(token: String)
    case revoke(token: String?, by: String, reason: String)
    case heard(token: String, outcome: HistoryOutcome)

    package var token: String? {
        switch self {
        case .enter(let token, _, _), .renew(let token, _, _), .complete(let token, _, _, _), .release(let token, _),
            .poll(let token, _), .leave(let token), .fence(let token), .heard(let token, _):
            token
        case .revoke(let token, _, _): token
        }
    }
}

extension HistoryRecord {
    /// Whether an earlier outcome was given.
    var isReuse: Bool { if case .reuse? = self.reply { true } else { false } }
}

/// Durations are in nanoseconds; no number of takeovers means that a lost leader's flight ends.
package struct HistoryTerms: Hashable, Codable {
    package var duration: Int64
    package var grace: Int64
    package var retention: Int64
    package var takeovers: Int?
    package var acceptsReuse: Bool
    /// For how long an earlier outcome must still be kept so that it is wanted.
    package var leastLife: Int64 = 0
}

/// An outcome; payloads as lists of numbers, so that any bytes survive.
package enum HistoryOutcome: Hashable, Codable {
    case value([UInt8])
    case failure([UInt8])
    case canceled(String)
}

/// An answer.
package enum HistoryReply: Hashable, Codable {
    case lead(attempt: Int)
    case follow(token: String, remaining: Int64)
    case reuse(token: String, outcome: HistoryOutcome)
    case late
    case renewed(waiters: Int)
    case lost(reason: String? = nil)
    case expired
    case accepted(waiters: Int)
    case duplicate
    case stale(current: String?, reason: String? = nil)
    case unknown(current: String?)
    case released(waiters: Int)
    case awaited(waiters: Int)
    case notHeld
    case done(HistoryOutcome)
    case running(remaining: Int64)
    case superseded(by: String)
    case withdrawn
    case gone
    case left(waiters: Int)
    case drawn(UInt64)
    case revoked(token: String, waiters: Int)
    case nothing
    case heard
    case failed(String, mayHaveExecuted: Bool)
}

// MARK: - From and to the store's types

extension Duration {
    var historyNanoseconds: Int64 { Int64(self / .nanoseconds(1)) }
}

extension HistoryTerms {
    init(_ terms: LeaseTerms, leastLife: Duration = .zero) {
        self.init(
            duration: terms.duration.historyNanoseconds,
            grace: terms.grace.historyNanoseconds,
            retention: terms.retention.historyNanoseconds,
            takeovers: terms.leaderLoss.takeovers,
            acceptsReuse: terms.acceptsReuse,
            leastLife: leastLife.historyNanoseconds
        )
    }

    var leaseTerms: LeaseTerms {
        LeaseTerms(
            duration: .nanoseconds(self.duration),
            grace: .nanoseconds(self.grace),
            retention: .nanoseconds(self.retention),
            leaderLoss: LeaderLossPolicy(takeovers: self.takeovers),
            acceptsReuse: self.acceptsReuse
        )
    }
}

extension LeaderLossPolicy {
    init(takeovers: Int?) {
        self = takeovers.map { .takeOver(attempts: $0) } ?? .cancel
    }

    var takeovers: Int? {
        switch self {
        case .cancel: nil
        case .takeOver(let attempts): attempts
        }
    }
}

extension HistoryOutcome {
    init(_ outcome: StoredOutcome) {
        self =
            switch outcome {
            case .value(let bytes): .value(bytes)
            case .failure(let bytes): .failure(bytes)
            case .canceled(let reason): .canceled(reason.wireForm)
            }
    }

    var storedOutcome: StoredOutcome {
        switch self {
        case .value(let bytes): .value(bytes)
        case .failure(let bytes): .failure(bytes)
        case .canceled(let reason): .canceled(CanceledFlight(wireForm: reason))
        }
    }
}

extension ReleaseRequest.Mode {
    init?(historyName: String) {
        switch historyName {
        case "unlessAwaited": self = .unlessAwaited
        case "shutDown": self = .shutDown
        case "giveUp": self = .giveUp
        case "handOver": self = .handOver
        case "withdraw": self = .withdraw
        default: return nil
        }
    }

    var historyName: String {
        switch self {
        case .unlessAwaited: "unlessAwaited"
        case .shutDown: "shutDown"
        case .giveUp: "giveUp"
        case .handOver: "handOver"
        case .withdraw: "withdraw"
        }
    }
}

extension HistoryRequest {
    /// `nil` for a request that decides nothing.
    init?(_ request: LeaseRequest) {
        switch request {
        case .enter(let request):
            self = .enter(
                token: request.token.description,
                terms: HistoryTerms(request.terms, leastLife: request.leastLife),
                isRepetition: request.isRepetition
            )
        case .renew(let request):
            self = .renew(
                token: request.token.description,
                terms: HistoryTerms(request.terms),
                isAbandoned: request.isAbandoned
            )
        case .complete(let request):
            self = .complete(
                token: request.token.description,
                outcome: HistoryOutcome(request.outcome),
                reuse: request.reuse.historyNanoseconds,
                keepsEarlier: request.keepsEarlier
            )
        case .release(let request):
            self = .release(token: request.token.description, mode: request.mode.historyName)
        case .poll(let request):
            self = .poll(token: request.token.description, mayEnd: request.mayEnd)
        case .leave(let request):
            self = .leave(token: request.token.description)
        case .fence(let request):
            self = .fence(token: request.token.description)
        case .revoke(let request):
            self = .revoke(token: request.token?.description, by: request.by, reason: request.reason)
        case .depend, .inspect, .append, .read:
            return nil
        }
    }
}

extension HistoryReply {
    /// `nil` for an answer that tells of no decision.
    init?(_ reply: LeaseReply) {
        switch reply {
        case .enter(let reply): self.init(reply)
        case .renew(let reply): self.init(reply)
        case .complete(let reply): self.init(reply)
        case .release(let reply): self.init(reply)
        case .poll(let reply): self.init(reply)
        case .leave(let reply): self.init(reply)
        case .fence(let reply): self.init(reply)
        case .revoke(let reply): self.init(reply)
        case .depend, .inspect, .append, .read: return nil
        }
    }

    init(_ reply: EnterReply) {
        self =
            switch reply {
            case .lead(let attempt): .lead(attempt: attempt)
            case .follow(let token, let remaining):
                .follow(token: token.description, remaining: remaining.historyNanoseconds)
            case .reuse(let token, let outcome, _): .reuse(token: token.description, outcome: HistoryOutcome(outcome))
            case .late: .late
            }
    }

    init(_ reply: RenewReply) {
        self =
            switch reply {
            case .renewed(let waiters): .renewed(waiters: waiters)
            case .lost(let reason): .lost(reason: reason?.wireForm)
            case .expired: .expired
            }
    }

    init(_ reply: CompleteReply) {
        self =
            switch reply {
            case .accepted(let waiters): .accepted(waiters: waiters)
            case .duplicate: .duplicate
            case .stale(let current, let reason): .stale(current: current?.description, reason: reason?.wireForm)
            case .unknown(let current): .unknown(current: current?.description)
            }
    }

    init(_ reply: ReleaseReply) {
        self =
            switch reply {
            case .released(let waiters): .released(waiters: waiters)
            case .awaited(let waiters): .awaited(waiters: waiters)
            case .notHeld: .notHeld
            }
    }

    init(_ reply: PollReply) {
        self =
            switch reply {
            case .done(let outcome): .done(HistoryOutcome(outcome))
            case .running(let remaining): .running(remaining: remaining.historyNanoseconds)
            case .expired: .expired
            case .superseded(let token): .superseded(by: token.description)
            case .withdrawn: .withdrawn
            case .gone: .gone
            }
    }

    init(_ reply: LeaveReply) {
        self = .left(waiters: reply.waiters)
    }

    init(_ reply: FenceReply) {
        self =
            switch reply {
            case .drawn(let fence): .drawn(fence.rawValue)
            case .lost: .lost()
            }
    }

    init(_ reply: RevokeReply) {
        self =
            switch reply {
            case .revoked(let token, let waiters): .revoked(token: token.description, waiters: waiters)
            case .nothing, .removedForeign: .nothing
            }
    }
}
