package import SingleflightLease
import SingleflightTestKit

/// A lease store in a simulation: one process's connections to a ``SimulatedServer``, with everything that can go wrong
/// on the way.
///
/// There are two, as with Redis: one for requests, one for the inbox. Each is ordered in itself, and they are not
/// ordered with respect to one another.
///
/// `@unchecked`, because its state has no lock: a simulation runs in one thread, which calls whatever it has scheduled
/// one after the other, and a lock would only hide a part of it that escaped.
package final class SimulatedLeaseStore: LeaseStore, @unchecked Sendable {
    /// The command connection as it is now: what was sent on an earlier one gets no answer.
    private struct CommandConnection {
        var epoch = 0
        var isUp = true
        /// Nothing gets through any more, which neither side has noticed.
        var isStalled = false
        var requests = SimulatedWire()
        var replies = SimulatedWire()
    }

    private struct Inbox {
        var epoch = 0
        var isUp = false
        var wire = SimulatedWire()
    }

    private struct Outstanding {
        var id: UInt64
        var timer: LeaseTimer
        var isSent = false
        var fail: (LeaseStoreError) -> Void
    }

    /// The machine's clock.
    package var clock: any LeaseClock { self.machine.clock }
    /// The time within which a request is answered.
    package let commandTimeout: Duration
    /// This process's inbox.
    package let inbox: InboxID
    /// This process's label.
    package let label: String
    /// The machine that the process runs on.
    package let machine: SimulatedMachine
    /// How messages fare from now on.
    package var network: SimulatedNetwork

    private let server: SimulatedServer
    private let scheduler: SimulatedScheduler
    private let sabotage: SimulatedSabotage
    private var router: InboxRouter<FlightKey>? = InboxRouter()
    /// In the order of their first registration, so that runs repeat exactly.
    private var keys: [FlightKey] = []
    private var commands = CommandConnection()
    private var inboxConnection = Inbox()
    private var outstanding: [Outstanding] = []
    /// What is to be sent once there is a connection.
    private var waiting: [() -> Void] = []
    private var nextRequest: UInt64 = 0
    private var isShutDown = false
    private var isPartitioned = false
    /// The flights that this process asked to be taken off.
    var leftFlights: Set<LeaseToken> = []
    /// Called when the process has made of a lease's record what it makes of it.
    var onInspection: () -> Void = {}
    private var serverClock = ServerClock()
    /// How often this machine's clock had jumped when the server last told its time; `nil` before the first time.
    private var jumpsWhenLearned: Int?

    /// Connects one more process to `server`.
    package convenience init(
        server: SimulatedServer,
        machine: SimulatedMachine,
        label: String,
        commandTimeout: Duration = .milliseconds(100),
        network: SimulatedNetwork = SimulatedNetwork()
    ) {
        self.init(
            server: server,
            machine: machine,
            label: label,
            commandTimeout: commandTimeout,
            network: network,
            sabotage: .none
        )
    }

    package init(
        server: SimulatedServer,
        machine: SimulatedMachine,
        label: String,
        commandTimeout: Duration,
        network: SimulatedNetwork,
        sabotage: SimulatedSabotage
    ) {
        self.server = server
        self.scheduler = server.scheduler
        self.machine = machine
        self.label = label
        self.commandTimeout = commandTimeout
        self.network = network
        self.sabotage = sabotage
        self.inbox = InboxID(using: &server.scheduler.random)
        server.connect(
            self.inbox,
            isHeard: { [weak self] in self.map { $0.inboxConnection.isUp && $0.machine.isAlive } ?? false },
            { [weak self] in self?.announce($0) }
        )
        self.subscribe(after: self.network.latency.upperBound * 2)
    }

    // MARK: - Faults

    /// Breaks the command connection: requests that are under way fail, and may or may not be carried out. It is
    /// restored soon.
    package func resetCommands() {
        self.breakCommands(LeaseStoreError(.unavailable, "the connection broke", mayHaveExecuted: true))
    }

    /// Breaks the inbox connection: announcements are lost until it is restored, after `delay`.
    package func resetInbox(for delay: Duration) {
        self.inboxConnection.epoch += 1
        self.inboxConnection.isUp = false
        self.machine.disturb(for: delay)
        let epoch = self.inboxConnection.epoch
        self.scheduler.schedule(after: .zero) {
            self.machine.execute {
                guard !self.isShutDown, self.inboxConnection.epoch == epoch else { return }
                self.deliverToAll(.interrupted)
            }
        }
        self.subscribe(after: delay)
    }

    /// Cuts the process off the server.
    package func partition(for duration: Duration) {
        guard !self.isPartitioned else { return }
        self.isPartitioned = true
        self.machine.disturb(for: duration)
        self.resetInbox(for: duration)
        self.commands.isStalled = true
        self.scheduler.schedule(after: duration) {
            self.isPartitioned = false
            self.resetCommands()
        }
    }

    /// Shuts the process's store down in good order: its flights hand back their leases, later requests fail.
    package func shutDown() {
        self.deliverToAll(.shuttingDown)
        self.isShutDown = true
    }

    /// Forgets everything; for the end of the process.
    package func tearDown() {
        self.isShutDown = true
        self.router = nil
        self.outstanding = []
        self.waiting = []
    }

    /// Whether another flight of this process waits for the key.
    func isAwaited(_ key: FlightKey) -> Bool { self.router?.waitingCount(for: key) != 0 }

    /// Whether another flight of this process than the one that asks waits for the key.
    func isAwaited(_ request: EnterRequest) -> Bool {
        (self.router?.waitingCount(for: request.key) ?? 0) > request.ownWaiters
    }

    package var listeningKeyCount: Int { self.router?.keyCount ?? 0 }

    package var outstandingCount: Int { self.outstanding.count }

    /// How many requests were made.
    package var requestCount: UInt64 { self.nextRequest }

    // MARK: - Inbox

    /// Registers a listener.
    package func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        if !self.keys.contains(key) {
            self.keys.append(key)
        }
        // A process that has ended makes no flights any more; whatever still listens then hears nothing.
        return (self.router ?? InboxRouter()).listen(for: key, handler)
    }

    private func deliverToAll(_ event: InboxEvent) {
        for key in self.keys {
            self.router?.deliver(event, for: key)
        }
    }

    private func subscribe(after delay: Duration) {
        let epoch = self.inboxConnection.epoch
        self.scheduler.schedule(after: delay) {
            guard self.inboxConnection.epoch == epoch, self.machine.isAlive else { return }
            self.inboxConnection.isUp = true
            self.machine.execute {
                guard !self.isShutDown, self.inboxConnection.epoch == epoch else { return }
                self.scheduler.note("\(self.label) inbox subscribed")
                self.askTime()
                self.deliverToAll(.resumed)
            }
        }
    }

    // MARK: - The server's time

    private func askTime() {
        let sentAt = self.clock.now
        let reply: ReplyHandler<LeaseInstant> = { answer in
            if case .success(let time) = answer {
                self.learn(time, sentAt: sentAt)
            }
        }
        let id = self.register(answerBy: nil) { _ in }
        self.whenUp {
            self.send(id, reply) { _ in self.server.tellTime() }
        }
    }

    func learn(_ time: LeaseInstant, sentAt: LeaseInstant) {
        self.serverClock.learn(time.sinceOrigin, sentAt: sentAt, receivedAt: self.clock.now)
        self.jumpsWhenLearned = self.machine.clock.jumps
    }

    /// The server's time that it cannot be before `instant` by this machine's clock, as far as it knows.
    func latestServerTime(at instant: LeaseInstant) -> LeaseInstant? {
        self.serverClock.latest(at: instant).map { LeaseInstant(sinceOrigin: $0) }
    }

    /// The true time after which the server must know that it is past `instant` by this machine's clock; `nil` where
    /// that clock gives no hold: it runs differently, or jumped since the server told its time.
    ///
    /// What the process knows of the server's clock is exact to within the time that an answer may take.
    func latestTime(at instant: LeaseInstant) -> LeaseInstant? {
        guard self.machine.clock.isExact, self.jumpsWhenLearned == self.machine.clock.jumps else { return nil }
        let drift = self.scheduler.now.sinceOrigin / 1000
        return self.scheduler.now.advanced(by: self.clock.now.duration(to: instant) + self.commandTimeout + drift)
    }

    private func announce(_ delivery: LeaseModel.Delivery) {
        guard self.inboxConnection.isUp else { return }
        guard !self.scheduler.chance(self.network.announcementLoss) else {
            self.machine.disturb()
            return
        }
        var delivery = delivery
        if self.scheduler.chance(self.network.bareAnnouncement) {
            switch delivery.announcement.news {
            case .outcome(.value), .outcome(.failure): delivery.announcement.news = .hint
            case .chunk(let chunk): delivery.announcement.news = .chunk(StoredChunk(index: chunk.index, bytes: nil))
            case .outcome(.canceled), .hint, .unawaited, .progress: break
            }
        }
        self.deliver(delivery)
        if self.scheduler.chance(self.network.announcementDuplication) {
            self.deliver(delivery)
        }
    }

    private func deliver(_ delivery: LeaseModel.Delivery) {
        let epoch = self.inboxConnection.epoch
        let arrival = self.inboxConnection.wire.arrival(through: self.network, self.scheduler)
        self.scheduler.schedule(at: arrival) {
            guard self.inboxConnection.epoch == epoch else { return }
            self.machine.execute {
                self.scheduler.note("\(self.label) hears \(delivery.key): \(delivery.announcement.summary)")
                self.router?.deliver(.announced(delivery.announcement), for: delivery.key)
            }
        }
    }

    // MARK: - Requests

    func perform<Reply: Sendable>(
        _ name: @autoclosure @escaping () -> String,
        _ key: FlightKey,
        answerBy: LeaseInstant? = nil,
        _ reply: @escaping ReplyHandler<Reply>,
        request: @escaping (inout LeaseModel, LeaseInstant) -> Reply,
        exchange: @escaping (Reply) -> SimulatedExchange.Kind
    ) {
        guard self.machine.isAlive else { return }
        guard !self.isShutDown else {
            return reply(.failure(LeaseStoreError(.shutDown, "the store was shut down")))
        }
        self.scheduler.note("\(self.label) sends \(key) \(name())")
        let sentAt = self.scheduler.now
        let id = self.register(answerBy: answerBy) { error in
            self.scheduler.note("\(self.label) fails \(key) \(name()): \(error)")
            self.machine.disturb()
            reply(.failure(error))
        }
        self.whenUp {
            self.send(id, reply) { isLate in
                let answer = self.server.perform(
                    key,
                    sentAt: sentAt,
                    isLate: isLate,
                    request,
                    exchange: exchange
                )
                let late = isLate ? " late" : ""
                self.scheduler.note("server answers\(late) \(self.label) \(key) \(name()): \(answer.summary)")
                return answer
            }
        }
    }

    private func whenUp(_ send: @escaping () -> Void) {
        if self.commands.isUp {
            send()
        } else {
            self.waiting.append(send)
        }
    }

    private func send<Reply: Sendable>(
        _ id: UInt64,
        _ reply: @escaping ReplyHandler<Reply>,
        execute: @escaping (_ isLate: Bool) -> Result<Reply, LeaseStoreError>
    ) {
        guard let index = self.outstanding.firstIndex(where: { $0.id == id }) else { return }
        self.outstanding[index].isSent = true
        if self.scheduler.chance(self.network.reset) {
            self.scheduler.schedule(after: self.scheduler.duration(self.network.latency)) {
                self.machine.execute { self.resetCommands() }
            }
        }
        if self.scheduler.chance(self.network.requestLoss) {
            self.commands.isStalled = true
        }
        guard !self.commands.isStalled else { return }
        let epoch = self.commands.epoch
        let arrival = self.commands.requests.arrival(through: self.network, self.scheduler)
        self.scheduler.schedule(at: arrival) {
            guard self.commands.epoch == epoch, self.machine.isAlive else {
                if self.scheduler.chance(self.network.lateExecution) {
                    self.scheduler.schedule(after: self.scheduler.duration(.zero...self.commandTimeout * 3)) {
                        _ = execute(true)
                    }
                }
                return
            }
            let answer = execute(false)
            if self.scheduler.chance(self.network.replyLoss) {
                self.commands.isStalled = true
            }
            guard !self.commands.isStalled, self.sabotage != .losesReplies else { return }
            self.scheduler.schedule(at: self.commands.replies.arrival(through: self.network, self.scheduler)) {
                self.machine.execute {
                    guard self.commands.epoch == epoch else { return }
                    self.received(id, answer, reply)
                }
            }
        }
    }

    private func received<Reply: Sendable>(
        _ id: UInt64,
        _ answer: Result<Reply, LeaseStoreError>,
        _ reply: ReplyHandler<Reply>
    ) {
        switch answer {
        case .success(let answer):
            guard self.settle(id) != nil else { return }
            reply(.success(answer))
        case .failure(let error):
            self.fail(id, error)
        }
    }

    private func register(
        answerBy: LeaseInstant?,
        _ fail: @escaping (LeaseStoreError) -> Void
    ) -> UInt64 {
        let id = self.nextRequest
        self.nextRequest += 1
        let deadline = answerBy ?? self.clock.now.advanced(by: self.commandTimeout)
        let timer = self.clock.schedule(at: deadline) { self.timedOut(id) }
        self.outstanding.append(Outstanding(id: id, timer: timer, fail: fail))
        return id
    }

    private func timedOut(_ id: UInt64) {
        guard self.sabotage != .losesReplies, let request = self.outstanding.first(where: { $0.id == id }) else {
            return
        }
        guard request.isSent else {
            return self.fail(id, LeaseStoreError(.timedOut, "there was no connection in time"))
        }
        // A connection on which an answer is missing is no longer used: the next answer would be taken for this one.
        self.breakCommands(LeaseStoreError(.timedOut, "no answer in time", mayHaveExecuted: true))
    }

    private func breakCommands(_ error: LeaseStoreError) {
        self.commands.epoch += 1
        self.commands.isUp = false
        self.commands.isStalled = self.isPartitioned
        self.machine.disturb()
        let epoch = self.commands.epoch
        self.scheduler.schedule(after: self.scheduler.duration(self.network.latency) * 2) {
            guard self.commands.epoch == epoch else { return }
            self.commands.isUp = true
            let waiting = self.waiting
            self.waiting = []
            for send in waiting {
                send()
            }
        }
        // What still waits for a connection goes on waiting.
        for request in self.outstanding where request.isSent {
            self.fail(request.id, error)
        }
    }

    private func fail(_ id: UInt64, _ error: LeaseStoreError) {
        self.settle(id)?(error)
    }

    @discardableResult
    private func settle(_ id: UInt64) -> ((LeaseStoreError) -> Void)? {
        guard let index = self.outstanding.firstIndex(where: { $0.id == id }) else { return nil }
        let request = self.outstanding.remove(at: index)
        self.clock.cancel(request.timer)
        return request.fail
    }
}
