public import SingleflightLease

extension SimulatedLeaseStore {
    /// See `LeaseStore`.
    public func enter(_ request: EnterRequest, reply: @escaping LeaseReply<EnterReply>) {
        self.perform("enter \(request.token.short)", request.key, reply) { model, now in
            model.enter(request, inbox: self.inbox, now: now)
        } exchange: {
            .enter(request, self.inbox, $0)
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
