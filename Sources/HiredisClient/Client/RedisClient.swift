package import Logging
package import NIOCore
import NIOPosix
import Synchronization

/// One connection for commands, shared by any number of tasks and threads, and kept up until shut down.
///
/// Every command is answered exactly once: with the server's reply, or with the reason why there is none, at its
/// deadline at the latest. Completions run on ``eventLoop``; of what is refused at once, and when the client or its
/// event loop ends, wherever that happens. What is submitted while there is no connection waits for one, unless there
/// has been none for long. Nothing is ever sent twice: whether a command whose answer was lost may be sent again, its
/// sender knows best.
///
/// Must be shut down; until then the client keeps itself alive.
package final class RedisClient: Sendable {
    package typealias Completion = @Sendable (Result<RESPValue, RedisClientError>) -> Void

    /// A completion as it is kept: by itself it would be wrapped once more, and allocated, to fit into generic types.
    struct Kept: Sendable {
        let completion: Completion

        init(_ completion: @escaping Completion) {
            self.completion = completion
        }
    }

    package let configuration: RedisClientConfiguration
    /// Where completions run. The subscriptions of this client live on it, too.
    package let eventLoop: any EventLoop
    package let eventLoopEnd: EventLoopEnd

    private let logger: Logger
    /// What finds the server, if it was made here.
    private let ownFinder: (any RedisFinder)?
    private let connection: KeptConnection
    private let queue: Mutex<SubmissionQueue<Kept>>
    private let loopState: NIOLoopBoundBox<LoopState>
    private let connectionError = Mutex<RedisClientError?>(nil)
    private let subscriptions = Mutex<[Subscribed]>([])
    /// The server proved to be older than 7.0, where scripts cannot start with `#!lua`.
    private let usesLegacyScripts: Atomic<Bool>
    /// Numbers what is submitted.
    private let sequences = Atomic<UInt64>(0)
    private let connections = Atomic<UInt64>(0)

    /// A subscription that was made here, as long as there is one.
    private struct Subscribed {
        weak var subscription: ChannelSubscription?
    }

    /// Used on the event loop only.
    private struct LoopState {
        /// Fires at the first deadline of what waits for a connection.
        var timer: Scheduled<Void>?
        var timerDeadline = NIODeadline.distantFuture
        var outage: Outage
        /// Memory of the last batch, for the one after the next.
        var spare = SubmissionQueue<Kept>.Spare()
    }

    package init(
        configuration: RedisClientConfiguration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        self.logger = logger
        eventLoop = group.next()
        let end = EventLoopEnd(of: eventLoop)
        eventLoopEnd = end
        var configuration = configuration
        let ownFinder =
            configuration.finder == nil
            ? configuration.makeFinder(on: eventLoop, end: end, logger: logger) : nil
        configuration.finder = configuration.finder ?? ownFinder
        self.configuration = configuration
        self.ownFinder = ownFinder
        usesLegacyScripts = Atomic(configuration.usesLegacyScripts)
        connection = KeptConnection(
            configuration: configuration,
            channel: nil,
            eventLoop: eventLoop,
            end: end,
            logger: logger
        )
        queue = Mutex(
            SubmissionQueue(
                maximumCount: configuration.maximumQueuedCommands,
                maximumBytes: configuration.maximumQueuedBytes
            )
        )
        loopState = .makeBoxSendingValue(
            LoopState(outage: Outage(patience: TimeAmount(configuration.commandTimeout))),
            eventLoop: eventLoop
        )
        end.whenCome { [weak self] in self?.end(.eventLoopEnded) }
    }

    // MARK: Lifecycle

    /// Starts to connect. Idempotent; without effect after ``shutdown()``.
    package func start() {
        connection.start(self)
    }

    /// Answers everything, closes the connection and returns when it is closed. Idempotent and terminal.
    ///
    /// Commands that were not sent fail with `shutDown`, those in flight with `unknownOutcome`: wait for the answers
    /// that matter first.
    package func shutdown() async {
        end(RedisClientError(.shutDown, "the client is shut down"))
        if !eventLoopEnd.hasCome {
            eventLoop.execute { self.loopState.value.timer?.cancel() }
        }
        await connection.shutDown()
        await ownFinder?.shutDown()
    }

    /// Takes nothing more, and answers what was not sent, for `reason`. What is in flight is answered as ever, until
    /// the client is shut down.
    func end(_ reason: RedisClientError) {
        answer(queue.withLock { $0.shutDown(reason) }, reason)
    }

    /// Returns when the client is connected.
    ///
    /// - Throws: why there is no connection after `limit`, or at once if the server refuses the credentials;
    ///   `CancellationError` if the task is canceled.
    package func connected(within limit: Duration) async throws {
        try await connection.connected(within: limit)
    }

    /// Why the last attempt to connect failed, or the last connection was lost; `nil` while connected.
    package var lastError: RedisClientError? {
        connectionError.withLock { $0 }
    }

    /// How many connections there have been. It changes on the event loop only: as long as it stays the same, all that
    /// is sent there goes by one connection.
    package var connectionNumber: UInt64 { connections.load(ordering: .relaxed) }

    /// A subscription to `channel` on a second connection to the same server, on the same event loop. Not yet started.
    ///
    /// On a connection that is subscribed a server does not say that it became a replica. So once this client is told,
    /// the subscription is made anew, too.
    package func makeSubscription(
        to channel: String,
        handler: @escaping ChannelSubscription.Handler
    ) -> ChannelSubscription {
        let subscription = ChannelSubscription(
            channel: channel,
            configuration: configuration,
            eventLoop: eventLoop,
            end: eventLoopEnd,
            logger: logger,
            handler: handler
        )
        subscriptions.withLock { made in
            made.removeAll { $0.subscription == nil }
            made.append(Subscribed(subscription: subscription))
        }
        return subscription
    }

    // MARK: Commands

    /// Sends a command; `completion` is called exactly once.
    ///
    /// - Parameter timeout: until when the answer is of use; the configuration's if `nil`.
    package func send(
        _ command: RedisCommand,
        timeout: Duration? = nil,
        order: RedisOrder = .none,
        completion: @escaping Completion
    ) {
        submit(command, deadline: deadline(in: timeout), order, sequence: nextSequence(), completion)
    }

    /// The same behind ASKING, to the node of a cluster that a slot is on its way to.
    func sendAsking(
        _ command: RedisCommand,
        timeout: Duration,
        order: RedisOrder,
        completion: @escaping Completion
    ) {
        submit(command, deadline: deadline(in: timeout), order, sequence: nextSequence(), asking: true, completion)
    }

    /// Evaluates a script by its hash, and by its source if the server does not have it; the deadline covers both.
    ///
    /// What is sent a second time was certainly not executed the first time. It is not sent if something of its order
    /// that was submitted after it has been carried out already; then it fails, as not sent.
    package func evaluate(
        _ script: RedisScript,
        keys: [RedisArgument],
        arguments: [RedisArgument] = [],
        timeout: Duration? = nil,
        order: RedisOrder = .none,
        completion: @escaping Completion
    ) {
        let prefersLegacyBody = usesLegacyScripts.load(ordering: .relaxed)
        submit(
            ScriptEvaluation(script, keys: keys, arguments: arguments, prefersLegacyBody: prefersLegacyBody),
            deadline: deadline(in: timeout),
            order,
            completion
        )
    }

    /// The same behind ASKING. By its source at once: each sending has to stand behind an ASKING of its own.
    func evaluateAsking(
        _ script: RedisScript,
        keys: [RedisArgument],
        arguments: [RedisArgument],
        timeout: Duration,
        order: RedisOrder,
        completion: @escaping Completion
    ) {
        let prefersLegacyBody = usesLegacyScripts.load(ordering: .relaxed)
        let evaluation = ScriptEvaluation(
            script,
            keys: keys,
            arguments: arguments,
            prefersLegacyBody: prefersLegacyBody,
            form: .source
        )
        let deadline = deadline(in: timeout)
        submit(evaluation.command, deadline: deadline, order, sequence: nextSequence(), asking: true) { result in
            var next = evaluation
            guard case .failure(let failure) = result, failure.code == .server, let error = failure.serverError,
                next.advance(after: error)
            else { return completion(result) }
            self.usesLegacyScripts.store(true, ordering: .relaxed)
            self.submit(
                next.command,
                deadline: deadline,
                order,
                sequence: self.nextSequence(),
                asking: true,
                completion
            )
        }
    }

    private func submit(
        _ evaluation: ScriptEvaluation,
        deadline: NIODeadline,
        _ order: RedisOrder,
        sequence: UInt64? = nil,
        ifFollowed hold: Completion? = nil,
        _ completion: @escaping Completion
    ) {
        let sequence = sequence ?? nextSequence()
        submit(evaluation.command, deadline: deadline, order, sequence: sequence, ifFollowed: hold) { result in
            guard case .failure(let failure) = result, failure.code == .server, let error = failure.serverError
            else { return completion(result) }
            var next = evaluation
            guard next.advance(after: error) else { return completion(result) }
            if next.usesLegacyBody {
                self.usesLegacyScripts.store(true, ordering: .relaxed)
            }
            self.resubmit(next, deadline: deadline, order, sequence, completion)
        }
    }

    /// Sends once more what the server did not carry out because it did not know the script. On the event loop only.
    ///
    /// Others of its order may have been submitted meanwhile. The first of them tells how it goes on: if the server
    /// does not know that one's script either, both are sent again, in their order. If it was carried out, the earlier
    /// one comes too late: carried out behind it, a request to leave, for example, would undo the request to enter that
    /// came after it.
    ///
    /// The queue is asked for the first of them and takes the evaluation under one lock: another thread could submit
    /// one in between.
    private func resubmit(
        _ evaluation: ScriptEvaluation,
        deadline: NIODeadline,
        _ order: RedisOrder,
        _ sequence: UInt64,
        _ completion: @escaping Completion
    ) {
        let decide: Completion = { result in
            if case .failure(let error) = result, !error.mayHaveExecuted {
                // The client's end is told on any thread, and is the end of this one, too.
                if error.code == .shutDown { return completion(result) }
                return self.resubmit(evaluation, deadline: deadline, order, sequence, completion)
            }
            let overtaken = "the server had forgotten the script, and has carried out a later request since"
            completion(.failure(RedisClientError(.notSent, overtaken)))
        }
        guard order.isKept else {
            return submit(evaluation, deadline: deadline, order, sequence: sequence, completion)
        }
        if connection.keeper.value.connection?.hold(decide, sequence: sequence, in: order) ?? false { return }
        submit(evaluation, deadline: deadline, order, sequence: sequence, ifFollowed: decide, completion)
    }

    private func nextSequence() -> UInt64 {
        sequences.add(1, ordering: .relaxed).newValue
    }

    private func deadline(in timeout: Duration?) -> NIODeadline {
        eventLoop.now + TimeAmount(timeout ?? configuration.commandTimeout)
    }

    /// - Parameter hold: what the queue holds instead of the command if something that is to follow the command waits
    ///   there already.
    private func submit(
        _ command: RedisCommand,
        deadline: NIODeadline,
        _ order: RedisOrder,
        sequence: UInt64,
        ifFollowed hold: Completion? = nil,
        asking: Bool = false,
        _ completion: @escaping Completion
    ) {
        let kept = Kept(completion)
        let action = queue.withLock { queue -> SubmissionQueue<Kept>.SubmitAction in
            if let hold, queue.hold(Kept(hold), sequence: sequence, in: order) { return .none }
            return queue.submit(
                command,
                deadline: deadline,
                order: order,
                sequence: sequence,
                asking: asking ? Self.ignored : nil,
                completion: kept
            )
        }
        switch action {
        case .none:
            break
        case .wake:
            eventLoop.execute { self.awake() }
        case .write:
            // Elsewhere the event loop has been told to look at the queue, which answers what cannot be written, too.
            guard eventLoop.inEventLoop, let connection = connection.keeper.value.connection, connection.canWrite
            else { return }
            write(to: connection)
        case .refuse(let error):
            completion(.failure(error))
        }
    }

    /// The answer to ASKING is that of the command behind it.
    private static let ignored = Kept { _ in }

    // MARK: On the event loop

    private func awake() {
        queue.withLock { $0.awoke() }
        flush()
    }

    /// Writes what waits if it can be written; otherwise sees to it that it is answered in time.
    private func flush() {
        let keeper = connection.keeper.value
        let now = eventLoop.now
        guard queue.withLock({ $0.nextDeadline }) != nil else { return }
        if keeper.connection == nil { loopState.value.outage.lacksConnection(since: now) }
        answerExpired(keeper, now)
        if let connection = keeper.connection {
            if connection.canWrite { return write(to: connection) }
        } else if let error = keeper.lastError, error.isLasting {
            return answerAll(error)
        } else if loopState.value.outage.isKnown(now: now) {
            return answerAll(RedisClientError(.outage, "the server is out of reach", underlying: keeper.reason))
        }
        guard let deadline = queue.withLock({ $0.nextDeadline }) else { return }
        wait(until: min(deadline, loopState.value.outage.beginsAt ?? deadline))
    }

    private func answerAll(_ error: RedisClientError) {
        answer(queue.withLock { $0.takeAll() }.submissions, error)
    }

    private func write(to connection: RedisConnection) {
        var spare = loopState.value.spare
        loopState.value.spare = SubmissionQueue.Spare()
        // Keeps the memory if the channel has let go of it, otherwise starts afresh.
        spare.bytes.clear()
        var batch = queue.withLock { $0.takeAll(spare: spare) }
        guard !batch.submissions.isEmpty else { return }
        connection.write(batch.bytes, batch.submissions, earliest: batch.earliest)
        if batch.bytes.capacity <= RedisClient.largestSpareBytes {
            loopState.value.spare.bytes = batch.bytes
        }
        if batch.submissions.count <= RedisClient.largestSpareCount {
            batch.submissions.removeAll(keepingCapacity: true)
            loopState.value.spare.submissions = batch.submissions
        }
    }

    /// A burst of large commands, or of many, must not hold its memory for ever.
    private static let largestSpareBytes = 1 << 20
    private static let largestSpareCount = 1 << 12

    private func answerExpired(_ keeper: ConnectionKeeper, _ now: NIODeadline) {
        let expired = queue.withLock { $0.takeExpired(now: now) }
        guard !expired.isEmpty else { return }
        answer(
            expired,
            RedisClientError(.notSent, "no connection before the command's deadline", underlying: keeper.reason)
        )
    }

    private func answer(_ submissions: [Submission<Kept>], _ error: RedisClientError) {
        for submission in submissions {
            submission.answer(.failure(error))
        }
    }

    private func wait(until deadline: NIODeadline) {
        guard deadline < loopState.value.timerDeadline else { return }
        loopState.value.timer?.cancel()
        loopState.value.timerDeadline = deadline
        loopState.value.timer = eventLoop.scheduleTask(deadline: deadline) {
            self.loopState.value.timer = nil
            self.loopState.value.timerDeadline = .distantFuture
            self.flush()
        }
    }
}

extension RedisClient: ConnectionKeeperDelegate {
    func keeperConnected(_ keeper: ConnectionKeeper) {
        connectionError.withLock { $0 = nil }
        connections.add(1, ordering: .relaxed)
        loopState.value.outage.connected()
        // A server may have been upgraded while it was away.
        usesLegacyScripts.store(configuration.usesLegacyScripts, ordering: .relaxed)
        flush()
    }

    func keeperBecameWritable(_ keeper: ConnectionKeeper) {
        flush()
    }

    func keeper(_ keeper: ConnectionKeeper, received message: [UInt8]) {}

    func keeper(_ keeper: ConnectionKeeper, heard push: ShardPush) {
        configuration.onShardPush?(push)
    }

    func keeper(_ keeper: ConnectionKeeper, failed reason: RedisClientError, wasConnected: Bool) {
        connectionError.withLock { $0 = reason }
        loopState.value.outage.lacksConnection(since: min(eventLoop.now, keeper.silentSince))
        if reason.code == .replica {
            for made in subscriptions.withLock({ $0 }) { made.subscription?.reconnect(reason) }
        }
        flush()
    }
}
