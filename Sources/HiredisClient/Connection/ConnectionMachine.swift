import NIOCore

/// A command on its way: what to do with its answer, and until when it is worth having.
struct Submission<Completion> {
    let completion: Completion
    let deadline: NIODeadline
    /// How many bytes the encoded command takes.
    let byteCount: Int
    /// What has the same number is to be carried out in the order in which it was submitted.
    var order = RedisOrder.none
    /// Which of them was submitted first.
    var sequence: UInt64 = 0
    /// Answered first, with the same result: what waits to learn whether this was carried out before it.
    var before: [Completion] = []

    init(
        completion: Completion,
        deadline: NIODeadline,
        byteCount: Int,
        order: RedisOrder = .none,
        sequence: UInt64 = 0
    ) {
        self.completion = completion
        self.deadline = deadline
        self.byteCount = byteCount
        self.order = order
        self.sequence = sequence
    }

    /// Whether it is to be carried out after what has this number, and in that order.
    func follows(_ sequence: UInt64, in order: RedisOrder) -> Bool {
        self.order == order && self.sequence > sequence
    }
}

extension Submission where Completion == RedisClient.Kept {
    func answer(_ result: Result<RESPValue, RedisClientError>) {
        for kept in before { kept.completion(result) }
        completion.completion(result)
    }
}

extension Submission: Sendable where Completion: Sendable {}

/// One connection, from the moment it is open, as a value without I/O.
///
/// Answers come in the order of the commands, so what is in flight is a queue. Time comes in as an argument.
struct ConnectionMachine<Completion> {
    struct Times: Hashable {
        var handshakeTimeout: TimeAmount
        var pingInterval: TimeAmount
        var pingTimeout: TimeAmount
        /// How long nothing may move in either direction while something is to be answered.
        var silence: TimeAmount
    }

    private enum State {
        /// The handshake's step of this index is to be answered next. Exits: ready, closed.
        case handshaking(step: Int)
        /// Exits: retiring, closed.
        case ready
        /// Takes no more commands; closes when those in flight are answered. Exits: closed.
        case retiring(RedisClientError)
        case closed
    }

    private enum Expected {
        case answer(Submission<Completion>, sentAt: NIODeadline)
        /// The answer to what was answered in its place when its time was over, though something still moved.
        case unwanted(sentAt: NIODeadline)
        case pong
    }

    let handshake: Handshake
    /// Set on a connection that is for messages of this channel instead of commands.
    let channel: String?
    /// Set on a connection that is for messages of shard channels: its commands are those that subscribe to them.
    let hearsShards: Bool
    private let times: Times
    private let openedAt: NIODeadline
    private var state = State.handshaking(step: 0)
    private var inFlight = CircularBuffer<Expected>()
    private var lastHeard: NIODeadline
    /// When the other side was last seen to take something.
    private var lastTaken: NIODeadline
    /// When the outstanding ping is given up; any byte heard is as good as its answer.
    private var pingDeadline: NIODeadline?

    init(handshake: Handshake, channel: String?, hearsShards: Bool = false, times: Times, now: NIODeadline) {
        self.handshake = handshake
        self.channel = channel
        self.hearsShards = hearsShards
        self.times = times
        openedAt = now
        lastHeard = now
        lastTaken = now
    }

    /// Commands may be submitted.
    var acceptsCommands: Bool {
        if case .ready = state { channel == nil } else { false }
    }

    var isClosed: Bool {
        if case .closed = state { true } else { false }
    }

    // MARK: Commands out

    /// Takes note of commands that are being written. Only while ``acceptsCommands``.
    mutating func submit(_ submissions: [Submission<Completion>], now: NIODeadline) {
        inFlight.reserveCapacity(inFlight.count + submissions.count)
        for submission in submissions {
            inFlight.append(.answer(submission, sentAt: now))
        }
    }

    /// Calls `completion` with the result of the first command in flight that was to follow this one, before that one's
    /// own; `false` if there is none. O(commands in flight).
    mutating func hold(_ completion: Completion, sequence: UInt64, in order: RedisOrder) -> Bool {
        for index in inFlight.indices {
            guard case .answer(var submission, let sentAt) = inFlight[index],
                submission.follows(sequence, in: order)
            else { continue }
            submission.before.append(completion)
            inFlight[index] = .answer(submission, sentAt: sentAt)
            return true
        }
        return false
    }

    /// Since when nothing has moved while something was to be answered; the distant future if nothing is.
    var silentSince: NIODeadline {
        switch inFlight.first {
        case .answer(_, let sentAt), .unwanted(let sentAt): max(lastHeard, lastTaken, sentAt)
        case .pong: max(lastHeard, lastTaken)
        case nil: .distantFuture
        }
    }

    /// When the connection is given up unless something moves before.
    private var silenceEnd: NIODeadline? {
        switch inFlight.first {
        case .answer(let submission, let sentAt):
            silentSince + min(times.silence, submission.deadline - sentAt)
        case .unwanted(let sentAt):
            // A server that is always late must not be sent more and more.
            min(silentSince + times.silence, sentAt + times.silence * Self.longestUnwanted)
        case .pong, nil:
            nil
        }
    }

    private static var longestUnwanted: Int { 5 }

    // MARK: Replies in

    /// Bytes arrived, of whatever kind: the other side lives.
    mutating func heard(now: NIODeadline) {
        lastHeard = now
        pingDeadline = nil
    }

    /// The other side took some of what it was sent.
    mutating func taken(now: NIODeadline) {
        lastTaken = now
    }

    enum ReplyAction {
        case none
        case becameReady
        case answer(Submission<Completion>, Result<RESPValue, RedisClientError>)
        /// Answer, then close: it was the last command of a connection that retires.
        case answerAndClose(Submission<Completion>, Result<RESPValue, RedisClientError>, RedisClientError)
        case deliver(message: [UInt8])
        case deliverPush(ShardPush)
        case close(RedisClientError)
    }

    mutating func received(_ reply: RESPValue) -> ReplyAction {
        switch state {
        case .handshaking(let step):
            if let failure = handshake.steps[step].verdict(on: reply) {
                return .close(failure)
            }
            if step + 1 < handshake.steps.count {
                state = .handshaking(step: step + 1)
                return .none
            }
            state = .ready
            return .becameReady
        case .ready, .retiring:
            if hearsShards { return pushedOrAnswered(reply) }
            return channel == nil ? answered(reply) : pushed(reply)
        case .closed:
            return .none
        }
    }

    private mutating func answered(_ reply: RESPValue) -> ReplyAction {
        switch inFlight.popFirst() {
        case .answer(let submission, _):
            let result: Result<RESPValue, RedisClientError>
            switch reply {
            case .error(let error):
                result = .failure(.server(error))
                retire(after: error)
            case .tooLong(let bytes):
                result = .failure(RedisClientError(.replyTooLong, "the answer has a part of \(bytes) bytes"))
            case .simpleString, .integer, .bulk, .array, .null:
                result = .success(reply)
            }
            if case .retiring(let reason) = state, inFlight.isEmpty {
                return .answerAndClose(submission, result, reason)
            }
            return .answer(submission, result)
        case .unwanted:
            if case .error(let error) = reply { retire(after: error) }
            guard case .retiring(let reason) = state, inFlight.isEmpty else { return .none }
            return .close(reason)
        case .pong:
            guard case .error(let error) = reply else { return .none }
            return .close(
                RedisClientError(.connectionFailed, "the server answers PING with an error", underlying: error)
            )
        case nil:
            guard case .error(let error) = reply else {
                return .close(RedisClientError(.protocolViolation, "the server sent a reply to no command"))
            }
            return .close(RedisClientError(.connectionFailed, "the server ends the connection", underlying: error))
        }
    }

    private mutating func retire(after error: RedisServerError) {
        guard handshake.requiresPrimary, case .ready = state, let reason = error.endOfConnection else { return }
        state = .retiring(reason)
    }

    private mutating func pushed(_ reply: RESPValue) -> ReplyAction {
        if case .error(let error) = reply {
            return .close(RedisClientError(.connectionFailed, "the server ends the subscription", underlying: error))
        }
        switch SubscriptionPush(reply) {
        case .message(channel, let payload):
            return .deliver(message: payload)
        case .pong, .subscribed(channel):
            return .none
        case .message, .subscribed, nil:
            return .close(RedisClientError(.protocolViolation, "the server sent an unexpected push"))
        }
    }

    private mutating func pushedOrAnswered(_ reply: RESPValue) -> ReplyAction {
        switch ShardPush(reply) {
        case .subscribed(let channel):
            return answered(.bulk(Array(channel.utf8)))
        case .message, .unsubscribed:
            return ShardPush(reply).map { .deliverPush($0) } ?? .none
        case nil:
            // Before the first subscription a PING is answered as everywhere, later by a push.
            if reply == .simpleString("PONG") || SubscriptionPush(reply) == .pong { return .none }
            return answered(reply)
        }
    }

    // MARK: Time

    enum TimerAction {
        case none
        case sendPing
        /// The time of these is over; the connection is as good as before.
        case answerLate([Submission<Completion>])
        case close(RedisClientError)
    }

    mutating func timerFired(now: NIODeadline) -> TimerAction {
        switch state {
        case .closed:
            return .none
        case .handshaking(let step):
            guard now >= openedAt + times.handshakeTimeout else { return .none }
            let hint =
                handshake.steps[step] == .evaluateNothing
                ? ": it answers, but carries out no script; are writes paused (CLIENT PAUSE)?" : ""
            return .close(RedisClientError(.connectionFailed, "the server did not answer the handshake in time\(hint)"))
        case .ready, .retiring:
            if let silenceEnd, silenceEnd <= now {
                return .close(.late)
            }
            let late = takeLate(now: now)
            if !late.isEmpty { return .answerLate(late) }
            if let pingDeadline {
                guard now >= pingDeadline else { return .none }
                return .close(RedisClientError(.timedOut, "the server did not answer PING in time"))
            }
            guard inFlight.isEmpty, now >= lastHeard + times.pingInterval else { return .none }
            pingDeadline = now + times.pingTimeout
            if channel == nil, !hearsShards {
                inFlight.append(.pong)
            }
            return .sendPing
        }
    }

    /// When the timer is to fire next, unless an earlier deadline is submitted; `nil` when closed. O(commands in
    /// flight).
    func nextWake(now: NIODeadline) -> NIODeadline? {
        switch state {
        case .closed:
            return nil
        case .handshaking:
            return openedAt + times.handshakeTimeout
        case .ready, .retiring:
            // While commands are in flight there is no ping; look again in an interval's time.
            let ping = pingDeadline ?? (inFlight.isEmpty ? lastHeard : now) + times.pingInterval
            return min(ping, earliestDeadline ?? ping, silenceEnd ?? ping)
        }
    }

    /// What is past its deadline while something moves: its answer will come, and is not worth waiting for.
    private mutating func takeLate(now: NIODeadline) -> [Submission<Completion>] {
        guard let earliestDeadline, earliestDeadline <= now else { return [] }
        var late: [Submission<Completion>] = []
        for index in inFlight.indices {
            guard case .answer(let submission, let sentAt) = inFlight[index], submission.deadline <= now else {
                continue
            }
            late.append(submission)
            inFlight[index] = .unwanted(sentAt: sentAt)
        }
        return late
    }

    private var earliestDeadline: NIODeadline? {
        var earliest: NIODeadline?
        for case .answer(let submission, _) in inFlight {
            earliest = min(submission.deadline, earliest ?? submission.deadline)
        }
        return earliest
    }

    // MARK: The end

    /// Closes for good; returns everything in flight with the failure it is to be answered with.
    ///
    /// Commands past their deadline have timed out; the fate of the others is unknown, for `reason`.
    mutating func close(_ reason: RedisClientError, now: NIODeadline) -> [(Submission<Completion>, RedisClientError)] {
        state = .closed
        let abandoned = inFlight
        inFlight = CircularBuffer()
        return abandoned.compactMap { expected in
            guard case .answer(let submission, _) = expected else { return nil }
            if submission.deadline <= now {
                return (submission, .late)
            }
            let lost = RedisClientError(
                .unknownOutcome,
                "the connection was lost before the answer",
                underlying: reason
            )
            return (submission, lost)
        }
    }
}
