import HiredisClient
import SingleflightLease

/// Requests of flights that are led or followed.
extension RedisLeaseStore {
    func renew(_ request: RenewRequest, reply: @escaping ReplyHandler<LeaseReply>) {
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

    func release(_ request: ReleaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
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
    func poll(_ request: PollRequest, reply: @escaping ReplyHandler<LeaseReply>) {
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

    func leave(_ request: LeaveRequest, reply: @escaping ReplyHandler<LeaseReply>) {
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

    func fence(_ request: FenceRequest, reply: @escaping ReplyHandler<LeaseReply>) {
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
    func revoke(
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

    func inspect(_ request: InspectRequest, reply: @escaping ReplyHandler<LeaseReply>) {
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
}
