package import SingleflightLease
package import SingleflightTestKit

/// The server of a simulation: a ``LeaseModel`` with a clock of its own, that can lose data.
///
/// It carries out one request at a time, as Redis does.
package final class SimulatedServer {
    package let scheduler: SimulatedScheduler
    /// Hears of every request, with what it found and what it answered.
    package var onExchange: (SimulatedExchange) -> Void = { _ in }
    /// Until then every request is answered with an error.
    package var failsUntil: LeaseInstant

    private var model = LeaseModel()
    private var replica = LeaseModel()
    private var clockOffset = Duration.zero
    private struct Subscriber {
        var isHeard: () -> Bool
        var deliver: (LeaseModel.Delivery) -> Void
    }

    private var subscribers: [InboxID: Subscriber] = [:]
    private let sabotage: SimulatedSabotage

    /// Creates an empty server.
    package convenience init(scheduler: SimulatedScheduler) {
        self.init(scheduler: scheduler, sabotage: .none)
    }

    package init(scheduler: SimulatedScheduler, sabotage: SimulatedSabotage) {
        self.scheduler = scheduler
        self.failsUntil = scheduler.now
        self.sabotage = sabotage
    }

    /// The server's own time.
    package var now: LeaseInstant { self.scheduler.now.advanced(by: self.clockOffset) }

    /// Moves the server's clock ahead.
    package func jump(by duration: Duration) {
        self.clockOffset += duration
    }

    /// Loses everything, as a restart without persistence or FLUSHALL does.
    package func loseEverything() {
        self.model.removeAll()
    }

    /// Loses what it holds about one key, as an eviction does.
    package func evict(_ key: FlightKey) {
        self.model.remove(key)
    }

    /// Brings the replica up to date; everything after that is lost if it is promoted.
    package func replicate() {
        self.replica = self.model
    }

    /// Continues with what the replica holds.
    package func failOver() {
        self.model = self.replica
    }

    /// Whether nothing is left: no lease, no waiter, no outcome.
    package var isEmpty: Bool { self.model.isEmpty(now: self.now) }

    /// How many chunks are stored of a flight's stream.
    func chunkCount(of key: FlightKey, _ token: LeaseToken) -> Int {
        let request = ReadRequest(key: key, token: token, from: .max, maximumBytes: 0, life: .zero)
        return self.model.read(request, now: self.now).stored
    }

    package func inspect(_ key: FlightKey) -> LeaseInspection {
        self.model.inspect(key, now: self.now)
    }

    package func summary(of key: FlightKey) -> LeaseModel.Summary {
        self.model.summary(of: key, now: self.now)
    }

    /// - Parameter isHeard: whether the process is connected to its inbox.
    func connect(
        _ inbox: InboxID,
        isHeard: @escaping () -> Bool,
        _ deliver: @escaping (LeaseModel.Delivery) -> Void
    ) {
        self.subscribers[inbox] = Subscriber(isHeard: isHeard, deliver: deliver)
    }

    /// Whether a process is connected to its inbox.
    package func isHeard(_ inbox: InboxID) -> Bool { self.subscribers[inbox]?.isHeard() ?? false }

    /// Tells its time.
    func tellTime() -> Result<LeaseInstant, LeaseStoreError> {
        guard self.scheduler.now >= self.failsUntil else {
            return .failure(LeaseStoreError(.unavailable, "the server cannot serve just now"))
        }
        return .success(self.now)
    }

    /// Carries out a request and sends its announcements on their way.
    ///
    /// - Parameter isLate: whether its sender gave it up before.
    func perform<Reply: Sendable>(
        _ key: FlightKey,
        sentAt: LeaseInstant,
        isLate: Bool,
        _ request: (inout LeaseModel, LeaseInstant) -> Reply,
        exchange: (Reply) -> SimulatedExchange.Kind
    ) -> Result<Reply, LeaseStoreError> {
        guard self.scheduler.now >= self.failsUntil else {
            return .failure(LeaseStoreError(.unavailable, "the server cannot serve writes just now"))
        }
        let before = self.inspect(key)
        for inbox in before.waiters { self.model.setHeard(inbox, self.isHeard(inbox)) }
        let reply = request(&self.model, self.now)
        if self.sabotage == .forgetsOutcomes {
            self.model.forgetOutcomes(of: key)
        }
        let deliveries = self.model.takeDeliveries()
        self.onExchange(
            SimulatedExchange(
                key: key,
                kind: exchange(reply),
                time: self.now,
                sentAt: sentAt,
                isLate: isLate,
                before: before,
                after: self.inspect(key),
                deliveries: deliveries
            )
        )
        for delivery in deliveries {
            self.subscribers[delivery.inbox]?.deliver(delivery)
        }
        return .success(reply)
    }
}

/// A bug that a simulation's server or processes can be given, to see that the simulation finds it.
package enum SimulatedSabotage: CaseIterable {
    case none
    /// The server announces outcomes without keeping them.
    case forgetsOutcomes
    /// Leaders believe in their lease beyond its end.
    case believesTooLong
    /// Replies get lost on the way up, and nobody times out.
    case losesReplies
}

/// One request as the server carried it out.
package struct SimulatedExchange {
    package enum Kind {
        /// A free lease was asked for, and taken or not.
        case acquire(EnterRequest, InboxID, Bool)
        /// - Parameters:
        ///   - isAwaited: whether another flight of that process waits for the key.
        ///   - dueBy: the true time after which it is certainly too late; `nil` if there is no such time.
        case enter(EnterRequest, InboxID, EnterReply, isAwaited: Bool, dueBy: LeaseInstant?)
        case renew(RenewRequest, RenewReply)
        case complete(CompleteRequest, CompleteReply)
        /// - Parameter inbox: of the process that asked; `nil` if another flight of it waits for the key.
        case release(ReleaseRequest, inbox: InboxID?, ReleaseReply)
        case poll(PollRequest, InboxID, PollReply)
        case leave(LeaveRequest, InboxID, LeaveReply)
        case fence(LeaseToken, FenceReply)
        case revoke(RevokeRequest, RevokeReply)
        case depend
        case inspect

        /// The exchange of a request and its answer; `nil` for an answer of another kind.
        ///
        /// - Parameters:
        ///   - inbox: of the process that asked.
        ///   - isAwaited: whether another flight of that process waits for the key.
        ///   - dueBy: as of ``enter(_:_:_:isAwaited:dueBy:)``.
        init?(
            _ request: LeaseRequest,
            _ reply: LeaseReply,
            inbox: InboxID,
            isAwaited: Bool,
            dueBy: LeaseInstant?
        ) {
            switch (request, reply) {
            case (.enter(let request), .enter(let reply)):
                self = .enter(request, inbox, reply, isAwaited: isAwaited, dueBy: dueBy)
            case (.renew(let request), .renew(let reply)): self = .renew(request, reply)
            case (.complete(let request), .complete(let reply)): self = .complete(request, reply)
            case (.release(let request), .release(let reply)):
                self = .release(request, inbox: isAwaited ? nil : inbox, reply)
            case (.poll(let request), .poll(let reply)): self = .poll(request, inbox, reply)
            case (.leave(let request), .leave(let reply)): self = .leave(request, inbox, reply)
            case (.fence(let request), .fence(let reply)): self = .fence(request.token, reply)
            case (.revoke(let request), .revoke(let reply)): self = .revoke(request, reply)
            case (.depend, .depend): self = .depend
            case (.inspect, .inspect): self = .inspect
            default: return nil
            }
        }
    }

    package var key: FlightKey
    package var kind: Kind
    /// The server's time.
    package var time: LeaseInstant
    /// The true time at which its sender asked for it.
    package var sentAt: LeaseInstant
    /// Whether its sender gave the request up before it was carried out.
    package var isLate: Bool
    package var before: LeaseInspection
    package var after: LeaseInspection
    package var deliveries: [LeaseModel.Delivery]
}
