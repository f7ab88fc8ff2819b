import NIOCore

/// Commands that are encoded and wait to be written, as a value: the bytes in one buffer, the completions beside them.
struct SubmissionQueue<Completion> {
    /// What is written at once.
    struct Batch {
        var bytes: ByteBuffer
        var submissions: [Submission<Completion>]
        /// The first deadline among them.
        var earliest: NIODeadline
    }

    private let maximumCount: Int
    private let maximumBytes: Int
    private var bytes = ByteBuffer()
    private var submissions: [Submission<Completion>] = []
    /// Never later than the first deadline in the queue.
    private var earliest = NIODeadline.distantFuture
    /// The event loop was told to look at the queue and has not done so yet.
    private var isWakeScheduled = false
    /// Why nothing is taken any more.
    private var refusal: RedisClientError?

    init(maximumCount: Int, maximumBytes: Int) {
        self.maximumCount = maximumCount
        self.maximumBytes = maximumBytes
    }

    enum SubmitAction {
        case none
        case wake
        /// There is as much as is worth writing at once: see to it now, if that is possible.
        case write
        case refuse(RedisClientError)
    }

    /// - Parameter asking: gets the answer to ASKING, which is to stand right in front of the command; without it no
    ///   ASKING does.
    mutating func submit(
        _ command: RedisCommand,
        deadline: NIODeadline,
        order: RedisOrder = .none,
        sequence: UInt64 = 0,
        asking: Completion? = nil,
        completion: Completion
    ) -> SubmitAction {
        if let refusal { return .refuse(refusal) }
        guard submissions.count < maximumCount, bytes.readableBytes < maximumBytes else {
            return .refuse(RedisClientError(.overloaded, "too many commands wait to be sent"))
        }
        if let asking {
            let byteCount = RedisCommand("ASKING").encode(into: &bytes)
            submissions.append(Submission(completion: asking, deadline: deadline, byteCount: byteCount))
        }
        let byteCount = command.encode(into: &bytes)
        submissions.append(
            Submission(
                completion: completion,
                deadline: deadline,
                byteCount: byteCount,
                order: order,
                sequence: sequence
            )
        )
        earliest = min(earliest, deadline)
        if isWakeScheduled { return submissions.count % Self.worthWriting == 0 ? .write : .none }
        isWakeScheduled = true
        return .wake
    }

    /// Write every 64 commands, so that the server works on them while we still parse earlier replies: with all of them
    /// in one piece at the end, server and client would wait for one another.
    private static var worthWriting: Int { 64 }

    /// As ``ConnectionMachine/hold(_:sequence:in:)``, for what waits here.
    mutating func hold(_ completion: Completion, sequence: UInt64, in order: RedisOrder) -> Bool {
        guard let index = submissions.firstIndex(where: { $0.follows(sequence, in: order) }) else { return false }
        submissions[index].before.append(completion)
        return true
    }

    /// The event loop looks at the queue: from here on, a submission must wake it again.
    mutating func awoke() {
        isWakeScheduled = false
    }

    /// The first deadline of what waits, or an earlier time; `nil` if nothing waits.
    var nextDeadline: NIODeadline? {
        submissions.isEmpty ? nil : earliest
    }

    /// Memory of an earlier batch, empty.
    struct Spare {
        var bytes = ByteBuffer()
        var submissions: [Submission<Completion>] = []
    }

    /// Takes everything, leaving `spare` as the memory to go on with.
    mutating func takeAll(spare: Spare = Spare()) -> Batch {
        let batch = Batch(bytes: bytes, submissions: submissions, earliest: earliest)
        bytes = spare.bytes
        submissions = spare.submissions
        earliest = .distantFuture
        return batch
    }

    /// Takes what is past its deadline out of the queue, bytes and all. O(commands waiting) if there is any.
    mutating func takeExpired(now: NIODeadline) -> [Submission<Completion>] {
        guard earliest <= now else { return [] }
        var batch = takeAll()
        var expired: [Submission<Completion>] = []
        bytes.reserveCapacity(batch.bytes.readableBytes)
        for submission in batch.submissions {
            guard var encoded = batch.bytes.readSlice(length: submission.byteCount) else {
                preconditionFailure("every submission's bytes are in the queue")
            }
            if submission.deadline <= now {
                expired.append(submission)
            } else {
                bytes.writeBuffer(&encoded)
                submissions.append(submission)
                earliest = min(earliest, submission.deadline)
            }
        }
        return expired
    }

    /// Refuses everything from here on, for the first reason that it is called with; returns what waited.
    mutating func shutDown(_ reason: RedisClientError) -> [Submission<Completion>] {
        refusal = refusal ?? reason
        return takeAll().submissions
    }
}

extension SubmissionQueue: Sendable where Completion: Sendable {}
extension SubmissionQueue.Spare: Sendable where Completion: Sendable {}
