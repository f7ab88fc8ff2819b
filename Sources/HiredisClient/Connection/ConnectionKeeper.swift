import Logging
import NIOCore

/// What the owner of a kept connection hears, on the event loop.
protocol ConnectionKeeperDelegate: AnyObject {
    func keeperConnected(_ keeper: ConnectionKeeper)
    func keeperBecameWritable(_ keeper: ConnectionKeeper)
    func keeper(_ keeper: ConnectionKeeper, received message: [UInt8])
    func keeper(_ keeper: ConnectionKeeper, heard push: ShardPush)
    /// An attempt to connect failed, or the connection was lost.
    func keeper(_ keeper: ConnectionKeeper, failed reason: RedisClientError, wasConnected: Bool)
}

/// Keeps one connection up, for commands or for a subscription: puts a `ReconnectMachine`'s decisions into effect.
///
/// Lives on its event loop and is used from nowhere else. It keeps its delegate alive until it is shut down.
final class ConnectionKeeper {
    private let configuration: RedisClientConfiguration
    private let finder: any RedisFinder
    private let eventLoop: any EventLoop
    private let channel: String?
    private var reporter: ConnectionReporter
    private var machine: ReconnectMachine
    private var delegate: (any ConnectionKeeperDelegate)?
    private var attempt: ReconnectMachine.Attempt = 0
    private var timer: Scheduled<Void>?
    private var waiters: [ObjectIdentifier: (ConnectionWaiter, limit: Scheduled<Void>)] = [:]

    /// The connection being opened or in use.
    private var current: RedisConnection?
    /// Where it leads, or is to lead.
    private var place: RedisPlace?
    /// Where the server has gone since that was found.
    private var elsewhere: RedisAddress?
    private var watcher: UInt64?
    /// Why the last attempt failed or the last connection was lost; `nil` while connected.
    private(set) var lastError: RedisClientError?
    /// Since when nothing had been heard of the last connection while something was to be answered.
    private(set) var silentSince = NIODeadline.distantFuture
    /// Whether a command was not answered since there was a connection that could be used.
    private var wasSilent = false
    /// Whether the server is asked for its role by the command for that.
    private var knowsRole = true

    init(
        configuration: RedisClientConfiguration,
        finder: any RedisFinder,
        channel: String?,
        eventLoop: any EventLoop,
        logger: Logger
    ) {
        self.configuration = configuration
        self.finder = finder
        self.channel = channel
        self.eventLoop = eventLoop
        reporter = ConnectionReporter(
            configuration: configuration,
            purpose: channel == nil || configuration.purpose == .sentinel ? configuration.purpose : .inbox,
            logger: logger
        )
        machine = ReconnectMachine(backoff: configuration.backoff)
    }

    /// The connection, if it is usable.
    var connection: RedisConnection? {
        machine.isConnected ? current : nil
    }

    /// Starts to connect; idempotent, and without effect once shut down.
    func start(_ delegate: any ConnectionKeeperDelegate) {
        guard let attempt = machine.start() else { return }
        self.delegate = delegate
        let bound = NIOLoopBound(WeakReference(self), eventLoop: eventLoop)
        watcher = finder.watch { [eventLoop] address in
            eventLoop.execute { bound.value.keeper?.moved(to: address) }
        }
        connect(attempt)
    }

    /// The server is elsewhere from now on.
    private func moved(to address: RedisAddress) {
        guard let place else { return }
        elsewhere = place.address == address ? nil : address
        if let reason = departure { current?.close(reason) }
    }

    /// Why a connection to what was found is of no use any more.
    private var departure: RedisClientError? {
        elsewhere.map { RedisClientError(.connectionFailed, "the primary is elsewhere now: \($0)") }
    }

    /// Closes the connection and never opens another; idempotent. The future completes when the socket is closed.
    func shutDown() -> EventLoopFuture<Void> {
        let closed = current?.closed ?? eventLoop.makeSucceededVoidFuture()
        guard machine.shutDown() else { return closed }
        timer?.cancel()
        if let watcher { finder.forget(watcher) }
        let reason = RedisClientError(.shutDown, "the client is shut down")
        lastError = reason
        resumeWaiters(.failure(reason))
        current?.close(reason)
        delegate = nil
        return closed
    }

    /// Closes the connection, if it is usable, as if it had been lost for `reason`: another is made.
    func drop(_ reason: RedisClientError) {
        connection?.close(reason)
    }

    /// Why there is no connection, as far as it is known.
    var reason: RedisClientError {
        if let lastError { return lastError }
        guard machine.isStarted else { return RedisClientError(.connectionFailed, "the client was never started") }
        let hint = configuration.target.tls == nil ? "" : "; is TLS spoken on this port?"
        return RedisClientError(.connectionFailed, "no connection to \(configuration.target) in time\(hint)")
    }

    // MARK: Waiting for the connection

    /// Resumes the waiter when connected; or after `limit`, or if the credentials are refused, with the reason why not.
    func add(_ waiter: ConnectionWaiter, within limit: Duration) {
        if waiter.isCancelled {
            return waiter.resume(.failure(CancellationError()))
        }
        if machine.isConnected {
            return waiter.resume(.success(()))
        }
        if let lastError, lastError.isLasting || machine.isShutDown {
            return waiter.resume(.failure(lastError))
        }
        let timer = eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(limit)) { [weak self] in
            guard let self else { return }
            remove(waiter, resuming: .failure(reason))
        }
        waiters[ObjectIdentifier(waiter)] = (waiter, timer)
    }

    /// Resumes the waiter, unless that happened before.
    func remove(_ waiter: ConnectionWaiter, resuming result: Result<Void, any Error>) {
        guard let (waiter, limit) = waiters.removeValue(forKey: ObjectIdentifier(waiter)) else { return }
        limit.cancel()
        waiter.resume(result)
    }

    private func resumeWaiters(_ result: Result<Void, any Error>) {
        for (waiter, _) in waiters.values {
            remove(waiter, resuming: result)
        }
    }

    // MARK: Connecting

    private func connect(_ attempt: ReconnectMachine.Attempt) {
        self.attempt = attempt
        reporter.connecting(attempt: attempt)
        finder.find(on: eventLoop).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let place): self.found(place, attempt)
            case .failure(let error): self.failed(attempt, .finding(self.configuration.target, failedWith: error))
            }
        }
    }

    private func found(_ place: RedisPlace, _ attempt: ReconnectMachine.Attempt) {
        guard !machine.isShutDown else { return }
        self.place = place
        elsewhere = nil
        guard let credentials = place.credentials else { return open(place, login: nil, attempt) }
        let limit = TimeAmount(configuration.connectTimeout)
        credentials.login(on: eventLoop, within: limit).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let login): self.open(place, login: login, attempt)
            case .failure(let error): self.failed(attempt, .finding(self.configuration.target, failedWith: error))
            }
        }
    }

    private func open(_ place: RedisPlace, login: RedisCredentials.Login?, _ attempt: ReconnectMachine.Attempt) {
        guard !machine.isShutDown else { return }
        let limit = TimeAmount(configuration.connectTimeout)
        RedisConnector(place: place, timeout: limit, eventLoop: eventLoop).connect().assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    self.opened(channel, place, login: login, attempt)
                case .failure(let error):
                    self.failed(attempt, .connecting(to: place, failedWith: error))
                }
            }
    }

    private func opened(
        _ channel: any Channel,
        _ place: RedisPlace,
        login: RedisCredentials.Login?,
        _ attempt: ReconnectMachine.Attempt
    ) {
        guard !machine.isShutDown else {
            return channel.close(mode: .all, promise: nil)
        }
        if let departure {
            channel.close(mode: .all, promise: nil)
            return failed(attempt, departure)
        }
        let connection = RedisConnection(
            channel: channel,
            machine: ConnectionMachine(
                handshake: Handshake(
                    configuration,
                    login: login,
                    database: place.database,
                    channel: self.channel,
                    knowsRole: knowsRole,
                    afterSilence: wasSilent
                ),
                channel: self.channel,
                hearsShards: configuration.onShardPush != nil,
                times: .init(
                    handshakeTimeout: TimeAmount(configuration.handshakeTimeout),
                    pingInterval: TimeAmount(configuration.pingInterval),
                    pingTimeout: TimeAmount(configuration.pingTimeout),
                    silence: TimeAmount(configuration.commandTimeout)
                ),
                now: eventLoop.now
            ),
            limits: configuration.limits,
            silence: TimeAmount(configuration.commandTimeout),
            hintOnSilence: place.hintOnSilence,
            delegate: self
        )
        current = connection
        do {
            try channel.pipeline.syncOperations.addHandler(connection)
        } catch {
            // The channel closed before it could be used.
            connection.close(.connecting(to: place, failedWith: error))
        }
    }

    private func failed(_ attempt: ReconnectMachine.Attempt, _ reason: RedisClientError) {
        let wasConnected = machine.isConnected
        let delay = machine.failed(attempt, with: reason, now: eventLoop.now, random: configuration.random())
        guard let delay else { return }
        if let place { finder.failed(place, reason) }
        place = nil
        reporter.failed(reason, wasConnected: wasConnected, retryIn: Duration(delay))
        lastError = reason
        timer = eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self, let attempt = machine.waited() else { return }
            connect(attempt)
        }
        if reason.isLasting {
            resumeWaiters(.failure(reason))
        }
        delegate?.keeper(self, failed: reason, wasConnected: wasConnected)
    }
}

extension ConnectionKeeper: RedisConnectionDelegate {
    func connectionBecameReady(_ connection: RedisConnection) {
        guard machine.connected(attempt, now: eventLoop.now) else { return }
        reporter.connected(attempt: attempt)
        lastError = nil
        wasSilent = false
        resumeWaiters(.success(()))
        delegate?.keeperConnected(self)
    }

    func connectionBecameWritable(_ connection: RedisConnection) {
        delegate?.keeperBecameWritable(self)
    }

    func connection(_ connection: RedisConnection, received message: [UInt8]) {
        delegate?.keeper(self, received: message)
    }

    func connection(_ connection: RedisConnection, heard push: ShardPush) {
        delegate?.keeper(self, heard: push)
    }

    func connection(_ connection: RedisConnection, closed reason: RedisClientError) {
        current = nil
        silentSince = connection.silentSince
        if reason.code == .timedOut { wasSilent = true }
        if reason.refusesRole, knowsRole, let next = machine.again(attempt) {
            knowsRole = false
            return connect(next)
        }
        failed(attempt, reason)
    }
}

/// What a closure for other threads holds on to, without keeping it alive.
private struct WeakReference {
    weak var keeper: ConnectionKeeper?

    init(_ keeper: ConnectionKeeper) {
        self.keeper = keeper
    }
}
