import HiredisClient
public import Logging
import NIOCore
public import ServiceLifecycle
public import SingleflightLease
import Synchronization

/// Keeps leases in Redis: one store per process and Redis, shared by all of the process's groups.
///
/// It has two connections, one for commands and one for its inbox, on one event loop, and restores both when they
/// break; results above 64 KiB get a third one, so that nothing waits behind them. As a `Service` it lives in a
/// `ServiceGroup`: ``run()`` owns its connections, and a graceful shutdown hands its leases back so that nobody waits
/// for their expiry. Name the store before the services that use it, `[store, app]`: a group shuts down the last first,
/// so that the app's requests can finish. For scripts and tests there is
/// ``withConnection(to:configuration:logger:_:)``.
///
/// The protocol is docs/protocol.md. SwiftNIO, which does the transport, sets SIGPIPE to ignored in the whole process.
public final class RedisLeaseStore: LeaseStore, Service {
    /// The calls' clock; it runs on the event loop of the connections.
    public var clock: any LeaseClock { self.eventLoopClock }
    /// The time within which every request is answered.
    public var commandTimeout: Duration { self.configuration.commandTimeout }
    /// How long an encoded result may be, in bytes.
    public var maximumPayloadBytes: Int { self.configuration.maximumPayloadBytes }
    /// This process's inbox.
    public let inbox: InboxID
    /// This process's label.
    public var label: String { self.configuration.label }

    /// How the store was set up.
    public let configuration: RedisLeaseStoreConfiguration

    let client: RedisDeploymentClient
    private let payloads: PayloadConnection
    let keyspace: Keyspace
    /// The inbox on a single server.
    private let subscription: ChannelSubscription
    /// The inboxes on a cluster.
    let shardInboxes: ShardInboxes
    private let eventLoopClock: EventLoopClock
    let serverTime: ServerTime
    private let router: InboxRouter<String>
    let outstanding = OutstandingRequests()
    private let lastListener: LastListener
    private let seenFences = SeenFences()
    /// What ends a flight that nobody joined.
    let deletions = ComparingDeletions()
    let granted = Mutex(GrantedRecords())
    private let spans: RequestSpans?
    private let life = Mutex(Life.new)
    private let warnings: StoreWarnings
    /// What it connects to, as it may be shown.
    private let shownTarget: String
    private let logger: Logger

    private enum Life {
        /// Nobody has called ``RedisLeaseStore/run()`` yet. → running, over
        case new
        /// → over
        case running
        /// Final.
        case over
    }

    /// What the public ways of setting a store up come down to.
    init(
        _ target: RedisTarget,
        configuration: RedisLeaseStoreConfiguration,
        eventLoopGroup: any EventLoopGroup,
        logger: Logger
    ) throws(LeaseStoreError) {
        try configuration.check()
        var generator = SystemRandomNumberGenerator()
        let inbox = InboxID(using: &generator)
        let metrics = StoreMetrics(configuration.metrics)
        var clientConfiguration = try configuration.client(target, inbox: inbox)
        let keyspace = Keyspace(namespace: configuration.namespace, database: target.database)
        if let metrics {
            clientConfiguration.onConnectionEvent = { metrics.connection($0) }
        }
        let client = RedisDeploymentClient(
            configuration: clientConfiguration,
            payloads: PayloadConnection.configuration(clientConfiguration, configuration),
            group: eventLoopGroup,
            logger: logger
        )
        let lastListener = LastListener()
        let router = InboxRouter<String>(onEmpty: { lastListener.gone() })

        self.configuration = configuration
        self.inbox = inbox
        self.keyspace = keyspace
        self.client = client
        self.shownTarget = target.description
        self.payloads = PayloadConnection(client, timeout: configuration.payloadTimeout)
        self.router = router
        self.lastListener = lastListener
        self.logger = logger
        self.warnings = StoreWarnings(logger: logger)
        self.spans = RequestSpans(configuration, target)
        let eventLoopClock = EventLoopClock(eventLoop: client.eventLoop, end: client.eventLoopEnd)
        let serverTime = ServerTime(clock: eventLoopClock)
        self.eventLoopClock = eventLoopClock
        self.serverTime = serverTime
        let receive = { @Sendable (bytes: [UInt8]) in
            guard let message = AnnouncementMessage(bytes: bytes) else { return }
            if !router.deliver(.announced(message.announcement), for: message.name) {
                metrics?.ignoredAnnouncement()
                logger.trace("announcement ignored", metadata: ["sf_token": "\(message.announcement.token)"])
            }
        }
        let channel = keyspace.inboxPrefix + inbox.description
        let subscription = client.makeSubscription(to: channel) { [weak client] event in
            switch event {
            case .subscribed:
                if let client, client.kind != .cluster { serverTime.ask(client) }
                router.deliverToAll(.resumed)
            case .message(let bytes):
                receive(bytes)
            case .disconnected:
                router.deliverToAll(.interrupted)
            }
        }
        self.subscription = subscription
        let shardInboxes = ShardInboxes(keyspace, inbox, router: router, logger: logger, receive: receive)
        self.shardInboxes = shardInboxes
        client.whenCluster { cluster in
            cluster.onConnected { serverTime.ask($0, node: $1) }
            shardInboxes.use(cluster)
            Task { await subscription.shutdown() }
        }
        // Nothing can be asked or heard any more: as on a shutdown, callers are told so.
        client.eventLoopEnd.whenCome { router.close() }
    }

    /// Warnings, and what is above, where swift-log sends them.
    public static var defaultLogger: Logger {
        var logger = Logger(label: "singleflight.redis")
        logger.logLevel = .warning
        return logger
    }

    // MARK: - Life

    /// Connects, keeps connected, and returns after a graceful shutdown, or throws `CancellationError` when its task is
    /// canceled. In both cases the leases of this process are handed back first. A store runs once.
    ///
    /// - Throws: `LeaseStoreError` if the store runs already (`invalidRequest`) or has been shut down (`shutDown`).
    public func run() async throws {
        try self.start()
        do {
            try await gracefulShutdown()
        } catch {
            await self.shutDown()
            throw error
        }
        let keys = self.router.keyCount
        if keys > 0 { self.warnings.shutsDownUnderFlights(keys: keys) }
        await self.shutDown()
    }

    /// Connects in the background.
    func start() throws(LeaseStoreError) {
        let before = self.life.withLock { life in
            defer { if case .new = life { life = .running } }
            return life
        }
        switch before {
        case .new: break
        case .running: throw LeaseStoreError(.invalidRequest, "the store runs already: run() is to be called once")
        case .over: throw LeaseStoreError(.shutDown, "the store was shut down, and does not run again: make another")
        }
        self.client.start()
        // Whether it is needed is not known before there is a connection; on a cluster it comes to nothing.
        if self.client.kind != .cluster { self.subscription.start() }
    }

    /// Hands back the leases, waits until Redis answered or the command timeout has passed, and disconnects.
    /// Idempotent.
    ///
    /// From the first moment on flights that begin are told that this process shuts down.
    func shutDown() async {
        self.life.withLock { $0 = .over }
        self.router.close()
        let clock = self.eventLoopClock
        let timer = clock.schedule(at: clock.now.advanced(by: self.commandTimeout)) {
            self.lastListener.giveUp()
            self.outstanding.refuse()
        }
        await self.lastListener.wait { self.router.keyCount }
        await self.outstanding.close()
        clock.cancel(timer)
        await self.subscription.shutdown()
        await self.shardInboxes.shutdown()
        await self.client.shutdown()
        self.logger.debug("store shut down")
    }

    /// Returns once Redis was reached and let us in.
    ///
    /// - Throws: `LeaseStoreError` that says what is wrong, after the command timeout.
    public func untilConnected() async throws(LeaseStoreError) {
        do {
            try await self.client.connected(within: self.configuration.commandTimeout)
        } catch let error as RedisClientError where error.code == .protocolViolation {
            let message = "\(self.shownTarget) is no Redis: \(error.message)"
            throw LeaseStoreError(.protocolViolation, message, underlying: error)
        } catch let error as RedisClientError {
            throw self.failure(error)
        } catch {
            throw LeaseStoreError(.unavailable, "\(error)", underlying: error)
        }
    }

    /// Returns once the inbox is subscribed. Flights need not wait for it: what they miss they find by polling.
    ///
    /// - Parameter key: the key whose inbox is meant, where keys have different ones.
    package func untilSubscribed(for key: FlightKey? = nil) async throws {
        guard !self.shardInboxes.areUsed else {
            let partition = key.map { Keyspace.partition(of: $0) } ?? 0
            return try await self.shardInboxes.untilSubscribed(
                UInt16(partition),
                within: self.configuration.commandTimeout
            )
        }
        try await self.subscription.subscribed(within: self.configuration.commandTimeout)
    }

    /// The number of keys that flights of this process listen for.
    package var listeningKeyCount: Int { self.router.keyCount }

    /// Connects, calls `body` with the store, and shuts the store down whichever way `body` ends.
    ///
    /// `body` runs where the caller does: inside of an actor it may use the actor's state, and what it returns need not
    /// be `Sendable`.
    ///
    /// - Throws: `LeaseStoreError` if Redis cannot be reached; what `body` throws.
    public static func withConnection<Result>(
        to url: String,
        configuration: RedisLeaseStoreConfiguration = .init(),
        logger: Logger = RedisLeaseStore.defaultLogger,
        _ body: (RedisLeaseStore) async throws -> Result
    ) async throws -> Result {
        let store = try RedisLeaseStore(url: url, configuration: configuration, logger: logger)
        try store.start()
        do {
            try await store.untilConnected()
            let result = try await body(store)
            await store.shutDown()
            return result
        } catch {
            await store.shutDown()
            throw error
        }
    }

    // MARK: - LeaseStore

    /// Hands `handler` the messages of this process's inbox that are about `key`.
    public func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        guard self.client.kind != .server else {
            return self.router.listen(for: Keyspace.announcedName(of: key), handler)
        }
        let partition = UInt16(Keyspace.partition(of: key))
        let registration = self.router.listen(for: Keyspace.announcedName(of: key), mark: partition, handler)
        if self.shardInboxes.areUsed { self.shardInboxes.need(partition) }
        return registration
    }

    /// Sends a request on its way to Redis.
    public func send(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let reply = self.spans?.observing(request, reply) ?? reply
        guard self.client.kind == .undecided else { return self.perform(request, reply: reply) }
        // What is behind the address is found out before anything is sent.
        self.perform(request) { result in
            if case .failure(let error) = result, (error.underlying as? RedisClientError)?.code == .cluster {
                return self.perform(request, reply: reply)
            }
            reply(result)
        }
    }

    private func perform(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        switch request {
        case .enter(let request): self.enter(request, reply: self.confirming(reply, of: request.key))
        case .renew(let request): self.renew(request, reply: reply)
        case .complete(let request): self.complete(request, reply: reply)
        case .release(let request): self.release(request, reply: reply)
        case .poll(let request): self.poll(request, reply: reply)
        case .leave(let request): self.leave(request, reply: reply)
        case .fence(let request): self.fence(request, reply: reply)
        case .revoke(let request): self.revoke(request, reply: reply)
        case .depend(let request): self.depend(request, reply: reply)
        case .inspect(let request): self.inspect(request, reply: reply)
        }
    }

    /// One native command if nobody leads; else the script, which also registers this process as a waiter.
    private func enter(_ request: EnterRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let names = self.keyspace.names(of: request.key)
        let record = self.record(
            token: request.token,
            terms: request.terms,
            note: request.note,
            key: names.isDigest ? request.key : nil
        ).bytes
        let now = self.clock.now
        let entering = Entering(
            token: request.token,
            key: request.key,
            ownWaiters: request.ownWaiters,
            leastLife: request.terms.acceptsReuse ? max(request.leastLife.milliseconds, 1) : 0,
            names: names,
            record: record,
            validUntil: now.advanced(by: request.validity),
            answerBy: now.advanced(by: self.commandTimeout)
        )
        // A repetition asks the script, which knows how a first sending ended. So does every request with events on:
        // the script alone publishes exactly what it did.
        guard request.takesFreeLease, !self.configuration.publishesEvents else {
            return self.enterIfValid(entering, reply: reply)
        }
        let keyLife = request.terms.duration.milliseconds + request.terms.grace.milliseconds
        let acquire = RedisCommand("SET", names.lease, .bytes(record), "NX", "PX", .integer(keyLife))
        guard self.outstanding.begin() else { return reply(.failure(.storeIsShutDown)) }
        self.client.send(acquire, timeout: self.commandTimeout, order: names.order) { result in
            switch result {
            case .success(.null):
                self.outstanding.end()
                return self.enterIfValid(entering, reply: reply)
            case .success(.simpleString):
                self.remember(record, of: request, names)
                reply(.success(.enter(.lead(attempt: 0))))
            case .success:
                reply(.failure(LeaseStoreError(.protocolViolation, "unexpected reply to SET NX")))
            case .failure(let error):
                reply(.failure(self.failure(error)))
            }
            self.outstanding.end()
        }
    }

    /// A request to lead, on its way: no more of it than is still needed, since it is kept until it is answered.
    private struct Entering {
        var token: LeaseToken
        var key: FlightKey
        var ownWaiters: Int
        /// How many milliseconds of an earlier outcome's life must be left; 0 if none is wanted.
        var leastLife: Int64
        var names: Keyspace.Names
        var record: [UInt8]
        /// Until then the server may carry it out.
        var validUntil: LeaseInstant
        var answerBy: LeaseInstant
        /// Whether the server took it for late once before.
        var isCorrected = false
        /// The expired lease that the server found: its outcome's key must be named.
        var lapsed: LeaseToken?
        /// How many of them it has found so far.
        var lapses = 0

        /// Whether another flight of this process waits for the key.
        func isAwaited(_ router: InboxRouter<String>) -> Bool {
            router.waitingCount(for: Keyspace.announcedName(of: self.key)) > self.ownWaiters
        }
    }

    /// More leases than this do not expire one after the other while one request is under way.
    private static let maximumLapses = 8

    private func enterIfValid(_ entering: Entering, reply: @escaping ReplyHandler<LeaseReply>) {
        let (token, names, sentAt) = (entering.token, entering.names, self.clock.now)
        let node = self.client.kind == .cluster ? self.client.cluster.node(for: names.order) : nil
        let remaining = sentAt.duration(to: entering.answerBy)
        guard remaining > .zero else {
            return reply(
                .failure(LeaseStoreError(.timedOut, "no answer within the command timeout", mayHaveExecuted: true))
            )
        }
        self.ask(
            LeaseScripts.enter,
            names,
            [names.lease, names.wait, names.done(token), names.last]
                + (entering.lapsed.map { [names.done($0)] } ?? []),
            [
                .token(token), .bytes(entering.record), .inbox(self.inbox),
                .integer(entering.leastLife), .integer(self.serverTime.notAfter(entering.validUntil, node: node)),
                .string(entering.lapsed?.description ?? ""), entering.isAwaited(self.router) ? "1" : "0",
                self.inboxPrefix(names), self.eventChannel(names),
            ],
            timeout: remaining
        ) { (answer: Result<EnterAnswer, LeaseStoreError>) in
            var again = entering
            switch answer {
            case .success(.lapsed(let token)):
                guard entering.lapses < Self.maximumLapses else {
                    return reply(.failure(LeaseStoreError(.unavailable, "each lease that was found had expired")))
                }
                again.lapsed = token
                again.lapses += 1
            case .success(.reply(.late)) where !entering.isCorrected && self.clock.now <= entering.validUntil:
                // It is not late here, and was not carried out: the server's clock was set. Now it is known how.
                again.isCorrected = true
            case .success(.reply(let enterReply)):
                return reply(.success(.enter(enterReply)))
            case .failure(let error):
                return reply(.failure(error))
            }
            self.enterIfValid(again, reply: reply)
        } read: { reply throws(LeaseStoreError) in
            if let time = reply.serverTime {
                self.serverTime.learn(milliseconds: time, sentAt: sentAt, node: node)
            }
            return try reply.enterAnswer()
        }
    }

    private func renew(_ request: RenewRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let names = self.keyspace.names(of: request.key)
        self.forget(request.token)
        let record = self.record(
            token: request.token,
            terms: request.terms,
            note: request.note,
            key: names.isDigest ? request.key : nil
        )
        self.evaluate(
            LeaseScripts.renew,
            names,
            [names.lease, names.wait, names.done(request.token)],
            [
                .token(request.token), .bytes(record.bytes), request.isAbandoned ? "1" : "0",
                .string(request.news?.wireForm ?? ""), self.inboxPrefix(names), self.eventChannel(names),
            ],
            reply
        ) { reply throws(LeaseStoreError) in .renew(try reply.renewReply()) }
    }

    /// - Parameter timeout: until when the answer is of use; the command timeout unless told otherwise.
    func completeByScript(
        _ request: CompleteRequest,
        _ names: Keyspace.Names,
        timeout: Duration? = nil,
        reply: @escaping ReplyHandler<LeaseReply>
    ) {
        let (status, payload) = request.outcome.wireForm
        let keys = [names.lease, names.wait, names.done(request.token), names.last]
        let arguments: [RedisArgument] = [
            .token(request.token), .string(status), .bytes(payload),
            .integer(request.reuse == .zero && request.keepsEarlier ? -1 : request.reuse.milliseconds),
            self.inboxPrefix(names), self.eventChannel(names),
        ]
        let read = { @Sendable (reply: ScriptReply) throws(LeaseStoreError) -> LeaseReply in
            .complete(try reply.completeReply())
        }
        guard payload.count > LeaseScripts.longPayload else {
            return self.evaluate(LeaseScripts.complete, names, keys, arguments, timeout: timeout, reply, read: read)
        }
        let told: ReplyHandler<LeaseReply> = { reply($0.mapError(\.asFull)) }
        guard payload.count > PayloadConnection.threshold else {
            return self.evaluate(LeaseScripts.completeLong, names, keys, arguments, timeout: timeout, told, read: read)
        }
        self.submit(told) { done in
            self.whileRenewing(request.token, names) { end in
                self.payloads.evaluate(
                    LeaseScripts.completeLong,
                    keys: keys,
                    arguments: arguments,
                    at: names.place
                ) { result, wasCutTwice in
                    end()
                    done(self.readLong(result, bytes: payload.count, wasCutTwice, read))
                }
            }
        }
    }

    /// Renews the lease for as long as its result is on its way, which may be longer than the lease.
    ///
    /// - Parameter body: calls what it gets when the result has arrived, or never will.
    private func whileRenewing(
        _ token: LeaseToken,
        _ names: Keyspace.Names,
        _ body: @escaping @Sendable (_ end: @escaping @Sendable () -> Void) -> Void
    ) {
        self.client.send(RedisCommand("GET", names.lease), order: names.order) { result in
            guard case .success(.bulk(let bytes)) = result, var record = LeaseRecord(bytes: bytes),
                record.token == token
            else {
                // Without a lease the result is refused, which the store is to say.
                return body {}
            }
            // The scripts write what the flight waits for, and keep it.
            record.awaited = []
            let renewed = record.bytes
            let renewals = RepeatedCall(on: self.eventLoopClock, every: record.duration / 3) {
                self.client.evaluate(
                    LeaseScripts.renew,
                    keys: [names.lease, names.wait, names.done(token)],
                    arguments: [
                        .token(token), .bytes(renewed), "0", "", self.inboxPrefix(names),
                        self.eventChannel(names),
                    ],
                    order: names.order
                ) { _ in }
            }
            renewals.start()
            body { renewals.end() }
        }
    }

    private func release(_ request: ReleaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let names = self.keyspace.names(of: request.key)
        self.forget(request.token)
        let mode: RedisArgument =
            switch request.mode {
            case .unlessAwaited: "u"
            case .shutDown: "s"
            case .giveUp: "g"
            case .handOver: "h"
            case .withdraw: "w"
            }
        // Registration is per process: as long as another flight of this process waits for the key, it stays.
        let isAwaited = self.router.waitingCount(for: Keyspace.announcedName(of: request.key)) > 0
        self.evaluate(
            LeaseScripts.release,
            names,
            [names.lease, names.wait, names.done(request.token)],
            [
                .token(request.token), mode, isAwaited ? "" : .inbox(self.inbox),
                self.inboxPrefix(names), self.eventChannel(names),
            ],
            reply
        ) { reply throws(LeaseStoreError) in .release(try reply.releaseReply()) }
    }

    /// Asks for the outcome's length first: a long one is fetched where nothing waits behind it.
    private func poll(_ request: PollRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let names = self.keyspace.names(of: request.key)
        let keys = [names.lease, names.wait, names.done(request.token)]
        let arguments: [RedisArgument] = [
            .token(request.token), .inbox(self.inbox), request.mayEnd ? "1" : "0",
            self.inboxPrefix(names), self.eventChannel(names),
        ]
        let read = { @Sendable (reply: ScriptReply) throws(LeaseStoreError) -> LeaseReply in
            .poll(try reply.pollReply())
        }
        let deadline = self.clock.now.advanced(by: self.commandTimeout)
        self.submit(reply) { done in
            self.client.send(RedisCommand("STRLEN", names.done(request.token)), order: names.order) { result in
                switch result {
                case .failure(let error) where !(error.serverError?.isRefusal ?? false):
                    return done(.failure(self.failure(error)))
                case .success(.integer(let bytes)) where bytes > self.configuration.maximumStoredBytes:
                    return done(.failure(.tooLarge(Int(bytes), limit: self.maximumPayloadBytes)))
                case .success(.integer(let bytes)) where bytes > PayloadConnection.threshold:
                    self.payloads.evaluate(
                        LeaseScripts.poll,
                        keys: keys,
                        arguments: arguments,
                        at: names.place
                    ) { result, wasCutTwice in
                        done(self.readLong(result, bytes: Int(bytes), wasCutTwice, read))
                    }
                case .success, .failure:
                    // Short, or not there; or a user of rights as they were documented before may not ask.
                    done(nil)
                    let rest = max(self.clock.now.duration(to: deadline), .zero)
                    self.evaluate(LeaseScripts.poll, names, keys, arguments, timeout: rest, reply, read: read)
                }
            }
        }
    }

    private func leave(_ request: LeaveRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        // Registration is per process: as long as another flight of this process waits for the key, it stays.
        guard self.router.waitingCount(for: Keyspace.announcedName(of: request.key)) == 0 else {
            return reply(.success(.leave(LeaveReply(waiters: 1))))
        }
        let names = self.keyspace.names(of: request.key)
        self.evaluate(
            LeaseScripts.leave,
            names,
            [names.lease, names.wait],
            [
                .token(request.token), .inbox(self.inbox),
                self.inboxPrefix(names), self.eventChannel(names),
            ],
            reply
        ) { reply throws(LeaseStoreError) in .leave(try reply.leaveReply()) }
    }

    private func fence(_ request: FenceRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let names = self.keyspace.names(of: request.key)
        let partition = Keyspace.partition(of: request.key)
        self.evaluate(
            LeaseScripts.fence,
            names,
            [names.lease, names.fence],
            [.token(request.token), .string("\(self.seenFences.greatest(of: partition))")],
            reply
        ) { reply throws(LeaseStoreError) in
            let reply = try reply.fenceReply()
            if case .drawn(let fence) = reply { self.seenFences.saw(fence, of: partition) }
            return .fence(reply)
        }
    }

    /// Without a token it takes two steps: the key of the flight's outcome can be named once it is known which flight
    /// there is.
    ///
    /// - Parameter attempts: how often another flight may begin between the two.
    private func revoke(
        _ request: RevokeRequest,
        attempts: Int = 3,
        reply: @escaping ReplyHandler<LeaseReply>
    ) {
        let names = self.keyspace.names(of: request.key)
        let outcome = StoredOutcome.canceled(.revoked(by: request.by, reason: request.reason))
        self.ask(
            LeaseScripts.revoke,
            names,
            [names.lease, names.wait] + (request.token.map { [names.done($0)] } ?? []),
            [
                .string(request.token?.description ?? ""), .bytes(outcome.wireForm.payload),
                self.inboxPrefix(names), self.eventChannel(names),
            ],
            isForeignExpected: request.token == nil
        ) { (answer: Result<RevokeAnswer, LeaseStoreError>) in
            switch answer {
            case .success(.leads(let token)):
                var named = request
                named.token = token
                self.revoke(named) { answer in
                    guard case .success(.revoke(.nothing)) = answer, attempts > 1 else { return reply(answer) }
                    self.revoke(request, attempts: attempts - 1, reply: reply)
                }
            case .success(.reply(let revokeReply)): reply(.success(.revoke(revokeReply)))
            case .failure(let error): reply(.failure(error))
            }
        } read: { reply throws(LeaseStoreError) in
            try reply.revokeAnswer()
        }
    }

    private func inspect(_ request: InspectRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let names = self.keyspace.names(of: request.key)
        self.submit(reply) { done in
            self.client.evaluate(
                LeaseScripts.inspect,
                keys: [names.lease, names.wait],
                arguments: [],
                timeout: self.commandTimeout,
                order: names.order
            ) { result in
                done(self.read(result) { value throws(LeaseStoreError) in .inspect(try LeaseInspection(reply: value)) })
            }
        }
    }

    // MARK: - Requests

    /// Evaluates a script for a request, unless the store is shut down. The one closure holds all that the reply needs:
    /// each more would be an allocation for every request.
    private func evaluate(
        _ script: RedisScript,
        _ names: Keyspace.Names,
        _ keys: [RedisArgument],
        _ arguments: [RedisArgument],
        timeout: Duration? = nil,
        _ reply: @escaping ReplyHandler<LeaseReply>,
        read: @escaping @Sendable (ScriptReply) throws(LeaseStoreError) -> LeaseReply
    ) {
        guard self.outstanding.begin() else { return reply(.failure(.storeIsShutDown)) }
        self.send(script, names, keys, arguments, timeout: timeout) { result in
            reply(self.read(result) { value throws(LeaseStoreError) in try read(.checked(value)) })
            self.outstanding.end()
        }
    }

    /// The same for an answer that is no reply yet.
    ///
    /// - Parameter isForeignExpected: whether `read` understands that a value is none that this protocol writes.
    private func ask<Answer: Sendable>(
        _ script: RedisScript,
        _ names: Keyspace.Names,
        _ keys: [RedisArgument],
        _ arguments: [RedisArgument],
        timeout: Duration? = nil,
        isForeignExpected: Bool = false,
        _ reply: @escaping ReplyHandler<Answer>,
        read: @escaping @Sendable (ScriptReply) throws(LeaseStoreError) -> Answer
    ) {
        self.submit(reply) { done in
            self.send(script, names, keys, arguments, timeout: timeout) { result in
                done(
                    self.read(result) { value throws(LeaseStoreError) in
                        try read(isForeignExpected ? ScriptReply(value) : .checked(value))
                    }
                )
            }
        }
    }

    func send(
        _ script: RedisScript,
        _ names: Keyspace.Names,
        _ keys: [RedisArgument],
        _ arguments: [RedisArgument],
        timeout: Duration? = nil,
        _ completion: @escaping RedisClient.Completion
    ) {
        self.client.evaluate(
            script,
            keys: keys,
            arguments: arguments,
            timeout: timeout ?? self.commandTimeout,
            order: names.order,
            completion: completion
        )
    }

    /// Sends a request, unless the store is shut down, and keeps count of it until it is answered.
    ///
    /// `send` gets what it must call once: with the reply, or with `nil` if somebody else answers.
    func submit<Answer: Sendable>(
        _ reply: @escaping ReplyHandler<Answer>,
        _ send: (@escaping @Sendable (Result<Answer, LeaseStoreError>?) -> Void) -> Void
    ) {
        guard self.outstanding.begin() else { return reply(.failure(.storeIsShutDown)) }
        send { result in
            if let result {
                reply(result)
            }
            self.outstanding.end()
        }
    }

    private func read<Answer>(
        _ result: Result<RESPValue, RedisClientError>,
        _ body: (RESPValue) throws(LeaseStoreError) -> Answer
    ) -> Result<Answer, LeaseStoreError> {
        switch result {
        case .success(let value):
            do {
                return .success(try body(value))
            } catch {
                return .failure(error)
            }
        case .failure(let error):
            return .failure(self.failure(error))
        }
    }

    /// As ``read(_:_:)``, of what carried a long result.
    private func readLong(
        _ result: Result<RESPValue, RedisClientError>,
        bytes: Int,
        _ wasCutTwice: Bool,
        _ read: (ScriptReply) throws(LeaseStoreError) -> LeaseReply
    ) -> Result<LeaseReply, LeaseStoreError> {
        if wasCutTwice, case .failure(let error) = result {
            return .failure(.tooLarge(bytes, because: self.failure(error)))
        }
        return self.read(result) { value throws(LeaseStoreError) in try read(.checked(value)) }
    }

    /// What a failure of the client means for a request. The first of a kind is a warning.
    func failure(_ error: RedisClientError) -> LeaseStoreError {
        var failure = LeaseStoreError(error)
        switch failure.code {
        case .unavailable, .down:
            if case .new = self.life.withLock({ $0 }) {
                failure.message = "run() of the store was never called: add the store to a ServiceGroup"
                self.warnings.neverRun(failure)
            }
        case .refused:
            self.warnings.refused(failure)
        default:
            break
        }
        return failure
    }

    /// What scripts append an inbox's id to.
    private func inboxPrefix(_ names: Keyspace.Names) -> RedisArgument {
        self.shardInboxes.areUsed ? names.inboxPrefix : .string(self.keyspace.inboxPrefix)
    }

    /// The last argument of every script that publishes events; empty if it shall not.
    private func eventChannel(_ names: Keyspace.Names) -> RedisArgument {
        guard self.configuration.publishesEvents else { return "" }
        return self.shardInboxes.areUsed ? names.eventChannel : .string(self.keyspace.eventChannel)
    }

    private func record(
        token: LeaseToken,
        terms: LeaseTerms,
        note: LeaseNote,
        key: FlightKey?
    ) -> LeaseRecord {
        LeaseRecord(
            token: token,
            inbox: self.inbox,
            duration: terms.duration,
            grace: terms.grace,
            retention: terms.retention,
            leaderLoss: terms.leaderLoss,
            note: LeaseRecord.Note(note, key: key)
        )
    }
}

extension LeaseStoreError {
    static var storeIsShutDown: LeaseStoreError { LeaseStoreError(.shutDown, "the store is shut down") }
}
