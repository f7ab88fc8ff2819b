import HiredisClient
import SingleflightLease

/// Reads the scripts' answers; throws where an answer is none that this version knows.
struct ScriptReply {
    let word: String
    private let fields: ArraySlice<RESPValue>

    init(_ value: RESPValue) throws(LeaseStoreError) {
        guard let fields = value.array, let word = fields.first?.string else {
            throw Self.unexpected("no array with a word in front")
        }
        self.word = word
        self.fields = fields.dropFirst()
    }

    /// The same; throws where the script found a value that no process of this version put there, and changed nothing.
    static func checked(_ value: RESPValue) throws(LeaseStoreError) -> ScriptReply {
        let reply = try ScriptReply(value)
        guard reply.word == "FOREIGN" else { return reply }
        switch try reply.string(0) {
        case "fence":
            throw LeaseStoreError(
                .protocolViolation,
                "the partition's fence counter holds a value that no fence can follow; delete the key ending in :fence"
            )
        default:
            throw LeaseStoreError(
                .protocolViolation,
                "the key's lease holds a value that is no lease; `singleflight revoke` removes it"
            )
        }
    }

    func string(_ index: Int) throws(LeaseStoreError) -> String {
        guard let string = self.field(index)?.string else { throw self.unexpectedField(index) }
        return string
    }

    func bytes(_ index: Int) throws(LeaseStoreError) -> [UInt8] {
        guard let bytes = self.field(index)?.bytes else { throw self.unexpectedField(index) }
        return bytes
    }

    /// A number that the protocol allows there. Beyond that it would be computed with until it overflows.
    private func integer(_ index: Int, _ range: ClosedRange<Int64>) throws(LeaseStoreError) -> Int {
        guard let integer = self.field(index)?.integer, range.contains(integer) else {
            throw self.unexpectedField(index)
        }
        return Int(integer)
    }

    /// The number of processes that wait.
    func count(_ index: Int) throws(LeaseStoreError) -> Int {
        try self.integer(index, 0...Int64(Int32.max))
    }

    /// The number of takeovers: three digits of the lease record.
    func attempt(_ index: Int) throws(LeaseStoreError) -> Int {
        try self.integer(index, 0...999)
    }

    func token(_ index: Int) throws(LeaseStoreError) -> LeaseToken {
        guard let token = LeaseToken(try self.string(index)) else { throw self.unexpectedField(index) }
        return token
    }

    /// A token, or `nil` for the empty string.
    func optionalToken(_ index: Int) throws(LeaseStoreError) -> LeaseToken? {
        try self.string(index).isEmpty ? nil : try self.token(index)
    }

    /// Why a flight was canceled, if it says so.
    func optionalReason(_ index: Int) throws(LeaseStoreError) -> CanceledFlight? {
        self.field(index) == nil ? nil : CanceledFlight(wireForm: try self.string(index))
    }

    /// The rest of a lease: it has eight digits in the lease record.
    func milliseconds(_ index: Int) throws(LeaseStoreError) -> Duration {
        .milliseconds(try self.integer(index, 0...99_999_999))
    }

    /// Milliseconds since 1970; up to the year 285 000, so that sums of two do not overflow.
    private func serverTime(_ index: Int) throws(LeaseStoreError) -> Int {
        try self.integer(index, 0...(1 << 53))
    }

    /// How a reused outcome stands, if it says so: in two fields.
    func freshness(_ index: Int) throws(LeaseStoreError) -> Freshness? {
        guard self.field(index) != nil else { return nil }
        let left = try self.integer(index, 0...(1 << 53))
        return Freshness(left: .milliseconds(left), isLed: try self.integer(index + 1, 0...1) == 1)
    }

    /// A status and a payload in two fields.
    func outcome(_ index: Int) throws(LeaseStoreError) -> StoredOutcome {
        guard let status = try self.string(index).utf8.first,
            let outcome = StoredOutcome(status: status, payload: try self.bytes(index + 1))
        else { throw self.unexpectedField(index) }
        return outcome
    }

    var unexpected: LeaseStoreError { Self.unexpected("\(self.word) is no answer to this request") }

    private func field(_ index: Int) -> RESPValue? {
        let position = self.fields.startIndex + index
        return position < self.fields.endIndex ? self.fields[position] : nil
    }

    private func unexpectedField(_ index: Int) -> LeaseStoreError {
        Self.unexpected("\(self.word) has an unexpected field \(index)")
    }

    private static func unexpected(_ what: String) -> LeaseStoreError {
        LeaseStoreError(.protocolViolation, "unexpected reply: \(what)")
    }
}

/// What the script of a request to lead answers.
enum EnterAnswer: Sendable {
    case reply(EnterReply)
    /// The lease of this token has expired; nothing has changed. Its outcome's key must be among the keys.
    case lapsed(LeaseToken)
}

/// What the script of a revocation answers.
enum RevokeAnswer: Sendable {
    case reply(RevokeReply)
    /// The flight of this token is led; nothing has changed. Its outcome's key must be among the keys.
    case leads(LeaseToken)
}

extension ScriptReply {
    /// The server's time in milliseconds, where the answer to `enter` tells it.
    var serverTime: Int? {
        switch self.word {
        case "LEAD": try? self.serverTime(1)
        case "FOLLOW": try? self.serverTime(2)
        case "EXPIRED": try? self.serverTime(1)
        case "LATE": try? self.serverTime(0)
        default: nil
        }
    }

    func enterAnswer() throws(LeaseStoreError) -> EnterAnswer {
        self.word == "EXPIRED" ? .lapsed(try self.token(0)) : .reply(try self.enterReply())
    }

    func enterReply() throws(LeaseStoreError) -> EnterReply {
        switch self.word {
        case "LEAD": .lead(attempt: try self.attempt(0))
        case "FOLLOW": .follow(try self.token(0), remaining: try self.milliseconds(1))
        // The request was carried out, and taken back since.
        case "DONE" where try self.string(1) == "w": .late
        case "DONE": .reuse(try self.token(0), try self.outcome(1), try self.freshness(3))
        case "LATE": .late
        default: throw self.unexpected
        }
    }

    func renewReply() throws(LeaseStoreError) -> RenewReply {
        switch self.word {
        case "OK": .renewed(waiters: try self.count(0))
        case "LOST": .lost(reason: try self.optionalReason(0))
        case "EXPIRED": .expired
        default: throw self.unexpected
        }
    }

    func completeReply() throws(LeaseStoreError) -> CompleteReply {
        switch self.word {
        case "OK": .accepted(waiters: try self.count(0))
        case "DUP": .duplicate
        case "STALE": .stale(current: try self.optionalToken(0), reason: try self.optionalReason(1))
        case "UNKNOWN": .unknown(current: try self.optionalToken(0))
        default: throw self.unexpected
        }
    }

    func releaseReply() throws(LeaseStoreError) -> ReleaseReply {
        switch self.word {
        case "OK": .released(waiters: try self.count(0))
        case "WAITED": .awaited(waiters: try self.count(0))
        case "LOST": .notHeld
        default: throw self.unexpected
        }
    }

    func pollReply() throws(LeaseStoreError) -> PollReply {
        switch self.word {
        case "DONE":
            // A flight that was taken over, or given back, is kept like an outcome.
            switch try self.string(0) {
            case "s": .superseded(by: try self.token(1))
            case "w": .withdrawn
            default: .done(try self.outcome(0))
            }
        case "RUN": .running(remaining: try self.milliseconds(0))
        case "EXPIRED": .expired
        case "GONE": .gone
        default: throw self.unexpected
        }
    }

    func appendReply() throws(LeaseStoreError) -> AppendReply {
        switch self.word {
        case "OK": .stored(waiters: try self.count(0))
        case "LOST": .lost(reason: try self.optionalReason(0))
        case "BROKEN": .broken(stored: try self.count(0))
        default: throw self.unexpected
        }
    }

    func readReply() throws(LeaseStoreError) -> ReadReply {
        guard self.word == "OK" else { throw self.unexpected }
        let stored = try self.count(0)
        var chunks: [[UInt8]] = []
        while self.field(1 + chunks.count) != nil {
            chunks.append(try self.bytes(1 + chunks.count))
        }
        return ReadReply(chunks: chunks, stored: stored)
    }

    func leaveReply() throws(LeaseStoreError) -> LeaveReply {
        guard self.word == "OK" else { throw self.unexpected }
        return LeaveReply(waiters: try self.count(0))
    }

    func fenceReply() throws(LeaseStoreError) -> FenceReply {
        switch self.word {
        case "OK":
            guard let number = UInt64(try self.string(0)), number < 1 << 53 else { throw self.unexpected }
            return .drawn(Fence(rawValue: number))
        case "LOST": return .lost
        default: throw self.unexpected
        }
    }

    func revokeAnswer() throws(LeaseStoreError) -> RevokeAnswer {
        self.word == "LEADS" ? .leads(try self.token(0)) : .reply(try self.revokeReply())
    }

    func revokeReply() throws(LeaseStoreError) -> RevokeReply {
        switch self.word {
        case "FOREIGN": .removedForeign
        case "OK": .revoked(try self.token(0), waiters: try self.count(1))
        case "NOOP": .nothing
        default: throw self.unexpected
        }
    }
}

extension LeaseStoreError {
    /// The same where a long result was refused because the server is out of memory: another attempt is too.
    var asFull: LeaseStoreError {
        guard (self.underlying as? RedisClientError)?.serverError?.code == "OOM" else { return self }
        var error = self
        error.code = .full
        return error
    }

    /// What a failure of the client means for a lease.
    init(_ error: RedisClientError) {
        let code: Code =
            switch error.code {
            case .timedOut: .timedOut
            case .outage: .down
            case .replyTooLong: .tooLarge
            case .authenticationFailed: .refused
            case .misconfigured: .invalidRequest
            case .shutDown: .shutDown
            case .protocolViolation: .protocolViolation
            case .server: Self.code(of: error.serverError)
            default: .unavailable
            }
        self.init(code, error.sentence, mayHaveExecuted: error.mayHaveExecuted, underlying: error)
    }

    private static func code(of error: RedisServerError?) -> Code {
        guard let error else { return .unavailable }
        if error.isTransient { return .unavailable }
        switch error.code {
        case "NOAUTH", "NOPERM", "WRONGPASS": return .refused
        // A channel that the user may not publish to does not get here: scripts publish through `pcall`.
        case "ERR" where error.isMissingRightInScript || error.isUnknownCommand: return .refused
        case "DENIED": return .refused
        default: return .invalidRequest
        }
    }
}

extension RedisClientError {
    /// What happened and, as far as the client or the server says so, why, and what to do. Leaves out what only its
    /// transport's author can read.
    fileprivate var sentence: String {
        switch self.underlying {
        case let error as RedisServerError:
            "\(self.message): \(error.words)" + (error.advice.map { "; \($0)" } ?? "")
        case let error as RedisClientError: "\(self.message): \(error.sentence)"
        default: self.code == .replica ? "\(self.message); connect to its primary" : self.message
        }
    }
}
