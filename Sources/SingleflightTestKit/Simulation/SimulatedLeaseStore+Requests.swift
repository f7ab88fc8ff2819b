public import SingleflightLease

extension SimulatedLeaseStore {
    /// See `LeaseStore`. As with Redis, a free lease is taken by a step that cannot tell the time.
    public func enter(_ request: EnterRequest, reply: @escaping LeaseReply<EnterReply>) {
        let sentAt = self.clock.now
        let (validUntil, answerBy) = (sentAt.advanced(by: request.validity), sentAt.advanced(by: self.commandTimeout))
        guard request.takesFreeLease else {
            return self.enterIfValid(request, validUntil: validUntil, answerBy: answerBy, reply: reply)
        }
        self.perform("acquire \(request.token.short)", request.key) { (answer: Result<Bool, LeaseStoreError>) in
            switch answer {
            case .success(true): reply(.success(.lead(attempt: 0)))
            case .success(false):
                self.enterIfValid(request, validUntil: validUntil, answerBy: answerBy, reply: reply)
            case .failure(let error): reply(.failure(error))
            }
        } request: { model, now in
            model.acquire(request, inbox: self.inbox, now: now)
        } exchange: {
            .acquire(request, self.inbox, $0)
        }
    }

    private func enterIfValid(
        _ request: EnterRequest,
        validUntil: LeaseInstant,
        answerBy: LeaseInstant,
        isCorrected: Bool = false,
        reply: @escaping LeaseReply<EnterReply>
    ) {
        let sentAt = self.clock.now
        let notAfter = self.latestServerTime(at: validUntil)
        let dueBy = self.latestTime(at: validUntil)
        self.perform("enter \(request.token.short)", request.key, answerBy: answerBy) { answer in
            guard case .success(let (outcome, time)) = answer else {
                return reply(answer.map(\.0))
            }
            self.learn(time, sentAt: sentAt)
            guard outcome == .late, !isCorrected, self.clock.now <= validUntil else {
                return reply(.success(outcome))
            }
            // It is not late here: somebody's clock was set. Now it is known how.
            self.enterIfValid(
                request,
                validUntil: validUntil,
                answerBy: answerBy,
                isCorrected: true,
                reply: reply
            )
        } request: { model, now in
            (model.enterIfValid(request, inbox: self.inbox, now: now, notAfter: notAfter), now)
        } exchange: {
            .enter(request, self.inbox, $0.0, dueBy: dueBy)
        }
    }

    /// See `LeaseStore`.
    public func renew(_ request: RenewRequest, reply: @escaping LeaseReply<RenewReply>) {
        self.perform("renew \(request.token.short)", request.key, reply) { model, now in
            model.renew(request, now: now)
        } exchange: {
            .renew(request, $0)
        }
    }

    /// See `LeaseStore`.
    public func complete(_ request: CompleteRequest, reply: @escaping LeaseReply<CompleteReply>) {
        self.perform("complete \(request.token.short)", request.key, reply) { model, now in
            model.complete(request, now: now)
        } exchange: {
            .complete(request, $0)
        }
    }

    /// See `LeaseStore`.
    public func release(_ request: ReleaseRequest, reply: @escaping LeaseReply<ReleaseReply>) {
        self.perform("release \(request.token.short) \(request.mode)", request.key, reply) { model, now in
            model.release(request, now: now)
        } exchange: {
            .release(request, $0)
        }
    }

    /// See `LeaseStore`.
    public func poll(_ request: PollRequest, reply: @escaping LeaseReply<PollReply>) {
        self.perform("poll \(request.token.short)", request.key, reply) { model, now in
            model.poll(request, inbox: self.inbox, now: now)
        } exchange: {
            .poll(request, self.inbox, $0)
        }
    }

    /// See `LeaseStore`.
    public func leave(_ key: FlightKey, token: LeaseToken, reply: @escaping LeaseReply<LeaveReply>) {
        guard !self.isAwaited(key) else {
            return reply(.success(LeaveReply(waiters: 1)))
        }
        self.perform("leave", key, reply) { model, now in
            model.leave(key, token: token, inbox: self.inbox, now: now)
        } exchange: {
            .leave(self.inbox, $0)
        }
    }

    /// See `LeaseStore`.
    public func fence(_ key: FlightKey, token: LeaseToken, reply: @escaping LeaseReply<FenceReply>) {
        self.perform("fence \(token.short)", key, reply) { model, now in
            model.fence(key, token: token, now: now)
        } exchange: {
            .fence(token, $0)
        }
    }

    /// See `LeaseStore`.
    public func revoke(_ request: RevokeRequest, reply: @escaping LeaseReply<RevokeReply>) {
        self.perform("revoke \(request.token?.short ?? "any")", request.key, reply) { model, now in
            model.revoke(request, now: now)
        } exchange: {
            .revoke(request, $0)
        }
    }

    /// See `LeaseStore`.
    public func inspect(_ key: FlightKey, reply: @escaping LeaseReply<LeaseInspection>) {
        self.perform("inspect", key, reply) { model, now in
            model.inspect(key, now: now)
        } exchange: { _ in
            .inspect
        }
    }
}
