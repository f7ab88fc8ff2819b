/// A request of one kind, with the type of its answer: for callers that send one kind and want its answer as itself.
public protocol LeaseRequestBody: Sendable {
    /// The answer.
    associatedtype Reply: Hashable & Sendable

    /// The request as a store takes it.
    var request: LeaseRequest { get }

    /// The answer in a store's reply; `nil` if the reply is to a request of another kind.
    static func reply(in reply: LeaseReply) -> Reply?
}

extension Result<LeaseReply, LeaseStoreError> {
    /// A store's answer to a request of the kind `Body`.
    package func `as`<Body: LeaseRequestBody>(_ body: Body.Type) -> Result<Body.Reply, LeaseStoreError> {
        self.flatMap { reply in
            guard let typed = Body.reply(in: reply) else {
                return .failure(LeaseStoreError(.protocolViolation, "the store answered another request"))
            }
            return .success(typed)
        }
    }
}

extension LeaseStore {
    /// Sends a request of one kind.
    public func send<Body: LeaseRequestBody>(_ body: Body, reply: @escaping ReplyHandler<Body.Reply>) {
        self.send(body.request) { reply($0.as(Body.self)) }
    }

    /// Sends a request and waits for its answer. Deaf to cancellation: every request is answered in time.
    public func answer<Body: LeaseRequestBody>(to body: Body) async -> Result<Body.Reply, LeaseStoreError> {
        await withCheckedContinuation { continuation in
            self.send(body) { continuation.resume(returning: $0) }
        }
    }
}

extension EnterRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .enter(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> EnterReply? {
        if case .enter(let reply) = reply { reply } else { nil }
    }
}

extension RenewRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .renew(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> RenewReply? {
        if case .renew(let reply) = reply { reply } else { nil }
    }
}

extension CompleteRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .complete(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> CompleteReply? {
        if case .complete(let reply) = reply { reply } else { nil }
    }
}

extension ReleaseRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .release(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> ReleaseReply? {
        if case .release(let reply) = reply { reply } else { nil }
    }
}

extension PollRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .poll(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> PollReply? {
        if case .poll(let reply) = reply { reply } else { nil }
    }
}

extension LeaveRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .leave(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> LeaveReply? {
        if case .leave(let reply) = reply { reply } else { nil }
    }
}

extension FenceRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .fence(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> FenceReply? {
        if case .fence(let reply) = reply { reply } else { nil }
    }
}

extension RevokeRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .revoke(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> RevokeReply? {
        if case .revoke(let reply) = reply { reply } else { nil }
    }
}

extension DependRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .depend(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> DependReply? {
        if case .depend(let reply) = reply { reply } else { nil }
    }
}

extension InspectRequest: LeaseRequestBody {
    /// The request as a store takes it.
    public var request: LeaseRequest { .inspect(self) }

    /// The answer in a store's reply.
    public static func reply(in reply: LeaseReply) -> LeaseInspection? {
        if case .inspect(let reply) = reply { reply } else { nil }
    }
}
