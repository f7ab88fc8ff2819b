import HiredisClient
import SingleflightLease

/// Requests to lead.
extension RedisLeaseStore {
    /// One native command if nobody leads; else the script, which also registers this process as a waiter.
    func enter(_ request: EnterRequest, reply: @escaping ReplyHandler<LeaseReply>) {
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
}
