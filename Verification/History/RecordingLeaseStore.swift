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
    /// The store's longest payload.
    public var maximumPayloadBytes: Int { self.store.maximumPayloadBytes }
    /// The store's inbox.
    public var inbox: InboxID { self.store.inbox }
    /// The store's label.
    public var label: String { self.store.label }

    /// Listens, and writes down every outcome that is heard of.
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

    /// Sends the request, and writes down what it asks and how it ends. A request to inspect decides nothing, and is
    /// not recorded.
    public func send(_ request: LeaseRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        guard self.isRecorded(request.key), let recorded = HistoryRequest(request) else {
            return self.store.send(request, reply: reply)
        }
        let sequence = self.history.begin(self.process, request.key, recorded)
        self.store.send(request) { result in
            let end: HistoryReply? =
                switch result {
                case .success(let answer): HistoryReply(answer)
                case .failure(let error): .failed("\(error)", mayHaveExecuted: error.mayHaveExecuted)
                }
            if let end { self.history.end(self.process, sequence, end) }
            reply(result)
        }
    }
}
