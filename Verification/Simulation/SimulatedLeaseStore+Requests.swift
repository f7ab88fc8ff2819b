package import SingleflightLease
import SingleflightTestKit

extension SimulatedLeaseStore {
    /// Sends a request on its way. As with Redis, a free lease is taken by a step that cannot tell the time.
    package func send(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        if case .leave(let leave) = request { self.leftFlights.insert(leave.token) }
        switch request {
        case .enter(let request):
            self.enter(request) { reply($0.map { .enter($0) }) }
        case .leave where self.isAwaited(request.key):
            reply(.success(.leave(LeaveReply(waiters: 1))))
        case .inspect:
            self.perform(request) { answer in
                reply(answer)
                self.onInspection()
            }
        case .renew, .complete, .release, .poll, .leave, .fence, .revoke, .depend, .append, .read:
            self.perform(request, reply: reply)
        }
    }

    private func enter(_ request: EnterRequest, reply: @escaping ReplyHandler<EnterReply>) {
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
        reply: @escaping ReplyHandler<EnterReply>
    ) {
        let sentAt = self.clock.now
        let notAfter = self.latestServerTime(at: validUntil)
        let dueBy = self.latestTime(at: validUntil)
        let isAwaited = self.isAwaited(request)
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
            (model.enterIfValid(request, inbox: self.inbox, now: now, notAfter: notAfter, isAwaited: isAwaited), now)
        } exchange: {
            .enter(request, self.inbox, $0.0, isAwaited: isAwaited, dueBy: dueBy)
        }
    }

    /// Requests that need no more than one step of the server.
    private func perform(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let isAwaited = self.isAwaited(request.key)
        self.perform(request.summary, request.key, reply) { model, now in
            model.perform(request, inbox: self.inbox, now: now, isAwaited: isAwaited)
        } exchange: { answer in
            SimulatedExchange.Kind(request, answer, inbox: self.inbox, isAwaited: isAwaited, dueBy: nil) ?? .inspect
        }
    }
}

extension LeaseRequest {
    /// For the trace of a run.
    var summary: String {
        switch self {
        case .enter(let request): "enter \(request.token.short)"
        case .renew(let request): "renew \(request.token.short)"
        case .complete(let request): "complete \(request.token.short)"
        case .release(let request): "release \(request.token.short) \(request.mode)"
        case .poll(let request): "poll \(request.token.short)"
        case .leave(let request): "leave \(request.token.short)"
        case .fence(let request): "fence \(request.token.short)"
        case .revoke(let request): "revoke \(request.token?.short ?? "any")"
        case .depend(let request): "depend \(request.token.short)"
        case .inspect: "inspect"
        case .append(let request):
            "append \(request.token.short) \(request.index) \(request.chunk.map { "\($0.count) bytes" } ?? "nothing")"
        case .read(let request):
            "read \(request.token.short) from \(request.from == .max ? "nowhere" : "\(request.from)")"
        }
    }
}
