public import SingleflightLease

/// A process's store that writes down every request, every answer and every outcome that it hears of.
public final class RecordingLeaseStore: LeaseStore {
    private let store: any LeaseStore
    private let history: LeaseHistory
    private let process: String
    private let isRecorded: @Sendable (FlightKey) -> Bool

    /// Wraps `store`. Its inbox names the process in `history`, so that no two processes are taken for one.
    ///
    /// - Parameter isRecorded: whether what concerns a key is written down; always the same for one key.
    public init(
        _ store: any LeaseStore,
        in history: LeaseHistory,
        where isRecorded: @escaping @Sendable (FlightKey) -> Bool = { _ in true }
    ) {
        self.store = store
        self.history = history
        self.process = store.inbox.description
        self.isRecorded = isRecorded
    }

    /// The store's clock.
    public var clock: any LeaseClock { self.store.clock }
    /// The store's command timeout.
    public var commandTimeout: Duration { self.store.commandTimeout }
    /// The store's inbox.
    public var inbox: InboxID { self.store.inbox }
    /// The store's label.
    public var label: String { self.store.label }

    /// See `LeaseStore`.
    public func listen(for key: FlightKey, _ handler: @escaping @Sendable (InboxEvent) -> Void) -> InboxRegistration {
        guard self.isRecorded(key) else { return self.store.listen(for: key, handler) }
        return self.store.listen(for: key) { event in
            if case .announced(let announcement) = event, case .outcome(let outcome) = announcement.news {
                let token = announcement.token.description
                let heard = HistoryRequest.heard(token: token, outcome: HistoryOutcome(outcome))
                self.history.end(self.process, self.history.begin(self.process, key, heard), .heard)
            }
            handler(event)
        }
    }

    /// See `LeaseStore`.
    public func enter(_ request: EnterRequest, reply: @escaping LeaseReply<EnterReply>) {
        let recorded = HistoryRequest.enter(
            token: request.token.description,
            terms: HistoryTerms(request.terms),
            isRepetition: request.isRepetition
        )
        self.record(request.key, recorded, reply, HistoryReply.init) { self.store.enter(request, reply: $0) }
    }

    /// See `LeaseStore`.
    public func renew(_ request: RenewRequest, reply: @escaping LeaseReply<RenewReply>) {
        let recorded = HistoryRequest.renew(
            token: request.token.description,
            terms: HistoryTerms(request.terms),
            attempt: request.attempt
        )
        self.record(request.key, recorded, reply, HistoryReply.init) { self.store.renew(request, reply: $0) }
    }

    /// See `LeaseStore`.
    public func complete(_ request: CompleteRequest, reply: @escaping LeaseReply<CompleteReply>) {
        let recorded = HistoryRequest.complete(
            token: request.token.description,
            outcome: HistoryOutcome(request.outcome),
            retention: request.retention.historyNanoseconds,
            reuse: request.reuse.historyNanoseconds
        )
        self.record(request.key, recorded, reply, HistoryReply.init) { self.store.complete(request, reply: $0) }
    }

    /// See `LeaseStore`.
    public func release(_ request: ReleaseRequest, reply: @escaping LeaseReply<ReleaseReply>) {
        let recorded = HistoryRequest.release(
            token: request.token.description,
            mode: request.mode.historyName,
            retention: request.retention.historyNanoseconds
        )
        self.record(request.key, recorded, reply, HistoryReply.init) { self.store.release(request, reply: $0) }
    }

    /// See `LeaseStore`.
    public func poll(_ request: PollRequest, reply: @escaping LeaseReply<PollReply>) {
        let recorded = HistoryRequest.poll(
            token: request.token.description,
            takeovers: request.leaderLoss.takeovers,
            retention: request.retention.historyNanoseconds
        )
        self.record(request.key, recorded, reply, HistoryReply.init) { self.store.poll(request, reply: $0) }
    }

    /// See `LeaseStore`.
    public func leave(_ key: FlightKey, token: LeaseToken, reply: @escaping LeaseReply<LeaveReply>) {
        let recorded = HistoryRequest.leave(token: token.description)
        self.record(key, recorded, reply, HistoryReply.init) { self.store.leave(key, token: token, reply: $0) }
    }

    /// See `LeaseStore`.
    public func fence(_ key: FlightKey, token: LeaseToken, reply: @escaping LeaseReply<FenceReply>) {
        let recorded = HistoryRequest.fence(token: token.description)
        self.record(key, recorded, reply, HistoryReply.init) { self.store.fence(key, token: token, reply: $0) }
    }

    /// See `LeaseStore`.
    public func revoke(_ request: RevokeRequest, reply: @escaping LeaseReply<RevokeReply>) {
        let recorded = HistoryRequest.revoke(
            token: request.token?.description,
            by: request.by,
            reason: request.reason,
            retention: request.retention.historyNanoseconds
        )
        self.record(request.key, recorded, reply, HistoryReply.init) { self.store.revoke(request, reply: $0) }
    }

    /// See `LeaseStore`. Decides nothing, and is not recorded.
    public func inspect(_ key: FlightKey, reply: @escaping LeaseReply<LeaseInspection>) {
        self.store.inspect(key, reply: reply)
    }

    private func record<Reply: Sendable>(
        _ key: FlightKey,
        _ request: HistoryRequest,
        _ reply: @escaping LeaseReply<Reply>,
        _ convert: @escaping @Sendable (Reply) -> HistoryReply,
        _ send: (@escaping LeaseReply<Reply>) -> Void
    ) {
        guard self.isRecorded(key) else { return send(reply) }
        let sequence = self.history.begin(self.process, key, request)
        send { result in
            let recorded: HistoryReply =
                switch result {
                case .success(let answer): convert(answer)
                case .failure(let error): .failed("\(error)", mayHaveExecuted: error.mayHaveExecuted)
                }
            self.history.end(self.process, sequence, recorded)
            reply(result)
        }
    }
}
