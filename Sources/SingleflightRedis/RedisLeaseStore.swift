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

    package let client: RedisDeploymentClient
    let payloads: PayloadConnection
    let keyspace: Keyspace
    /// The inbox on a single server.
    private let subscription: ChannelSubscription
    /// The inboxes on a cluster.
    let shardInboxes: ShardInboxes
    let eventLoopClock: EventLoopClock
    let serverTime: ServerTime
    let router: InboxRouter<String>
    let outstanding = OutstandingRequests()
    private let lastListener: LastListener
    let seenFences = SeenFences()
    /// What ends a flight that nobody joined.
    let deletions = ComparingDeletions()
    let granted = Mutex(GrantedRecords())
    private let spans: RequestSpans?
    let life = Mutex(Life.new)
    let warnings: StoreWarnings
    /// What it connects to, as it may be shown.
    private let shownTarget: String
    private let logger: Logger

    enum Life {
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
        case .append(let request): self.append(request, reply: reply)
        case .read(let request): self.read(request, reply: reply)
        case .inspect(let request): self.inspect(request, reply: reply)
        }
    }
}

extension LeaseStoreError {
    static var storeIsShutDown: LeaseStoreError { LeaseStoreError(.shutDown, "the store is shut down") }
}
