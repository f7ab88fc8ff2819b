/// What one run of an operation writes to its stream, and how far it is stored. Does nothing itself: the core carries
/// the actions out, in order.
///
/// One chunk is on its way at a time, so the store has them in order. What is written meanwhile waits, and makes up the
/// next chunk: the first part goes out at once, and the faster parts come the more of them share a chunk.
package struct StreamWriterMachine: Sendable {
    package enum Event: Sendable {
        /// A caller hands in a part, framed, and waits to be let go on.
        case write([UInt8], by: UInt64)
        /// A caller does not wait any more; its part is not written.
        case withdraw(UInt64)
        /// No more parts come.
        case finish
        /// A part was refused: the stream fails, behind the parts that were written before.
        case refuse(any Error)
        /// Nothing more is to be stored: the operation's result is not wanted any more.
        case stop(any Error)
        case replied(Result<AppendReply, LeaseStoreError>)
        case timer
    }

    package enum Action: Sendable {
        /// Store the chunk, or prolong the life of those before it.
        case append(index: Int, [UInt8]?)
        case wake(at: LeaseInstant)
        /// The chunk is stored.
        case tell(StoredChunk)
        /// The caller goes on.
        case admit(UInt64)
        case refuse(UInt64, any Error)
        /// All parts are stored, or will never be. Comes once, after ``Event/finish``.
        case end(Result<StreamEnd, any Error>)
    }

    private enum Phase {
        case open
        case finishing
        case over
    }

    private enum Request {
        case chunk([UInt8])
        case touch
    }

    private let terms: StreamTerms
    private var phase = Phase.open
    /// Why nothing more is stored.
    private var failure: (any Error)?
    /// Why no more parts are taken.
    private var refusal: (any Error)?
    /// What is stored, with what is on its way.
    private var written = StreamEnd()
    private var pending: [UInt8] = []
    private var pendingStart = 0
    private var waiting: [(frame: [UInt8], caller: UInt64)] = []
    private var request: Request?
    /// When the request is sent again, if it failed.
    private var retryAt: LeaseInstant?
    private var delay: RetryDelay
    private var touchAt: LeaseInstant?

    package init(_ terms: StreamTerms) {
        self.terms = terms
        self.delay = Self.firstDelay(terms)
    }

    private static func firstDelay(_ terms: StreamTerms) -> RetryDelay {
        RetryDelay(first: .milliseconds(20), limit: terms.lookInterval)
    }

    /// What is written and not stored.
    package var unstored: Int {
        let sent = if case .chunk(let bytes) = self.request { bytes.count } else { 0 }
        return self.pending.count - self.pendingStart + sent
    }

    /// Why no more parts are taken, if so.
    package var error: (any Error)? { self.failure ?? self.refusal }

    /// What was written so far, and is stored or will be.
    package var soFar: StreamEnd { self.written }

    package mutating func handle(
        _ event: Event,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        switch event {
        case .write(let frame, let caller):
            if let error = self.error { return [.refuse(caller, error)] }
            guard case .open = self.phase else { return [.refuse(caller, DistributedGroupError.streamEnded)] }
            self.waiting.append((frame, caller))
            return self.goOn(now)
        case .withdraw(let caller):
            guard let index = self.waiting.firstIndex(where: { $0.caller == caller }) else { return [] }
            self.waiting.remove(at: index)
            return [.refuse(caller, CancellationError())]
        case .finish:
            guard case .open = self.phase else { return [] }
            if let failure {
                self.phase = .over
                return [.end(.failure(failure))]
            }
            self.phase = .finishing
            return self.goOn(now)
        case .refuse(let error):
            return self.refuse(error)
        case .stop(let error):
            return self.fail(error)
        case .replied(let reply):
            return self.replied(reply, now, using: &generator)
        case .timer:
            return self.timer(now)
        }
    }

    private mutating func replied(
        _ reply: Result<AppendReply, LeaseStoreError>,
        _ now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        guard let request, self.failure == nil else { return [] }
        switch reply {
        case .success(.stored):
            self.request = nil
            self.delay = Self.firstDelay(self.terms)
            self.touchAt = now.advanced(by: self.terms.touchInterval)
            guard case .chunk(let bytes) = request else { return self.goOn(now) }
            let index = self.written.chunks
            self.written.chunks += 1
            return [.tell(StoredChunk(index: index, bytes: bytes))] + self.goOn(now)
        case .success(.lost(let reason)):
            return self.fail(reason.map { Cancellation($0) } ?? .leaseLost)
        case .success(.broken(let stored)):
            return self.fail(
                DistributedGroupError.streamLost(stored: stored, of: self.written.chunks)
            )
        case .failure(let error) where error.isTransient || error.mayHaveExecuted || self.isTouch(error):
            let retryAt = now.advanced(by: self.delay.next(using: &generator))
            self.retryAt = retryAt
            return [.wake(at: retryAt)]
        case .failure(let error):
            return self.fail(DistributedGroupError(streaming: error))
        }
    }

    private mutating func timer(_ now: LeaseInstant) -> [Action] {
        guard self.failure == nil, !self.isOver else { return [] }
        if let retryAt, let request {
            guard now >= retryAt else { return [.wake(at: retryAt)] }
            self.retryAt = nil
            switch request {
            case .chunk(let bytes): return [.append(index: self.written.chunks, bytes)]
            case .touch: return [.append(index: self.written.chunks, nil)]
            }
        }
        guard self.request == nil, let touchAt, !Planted.bug("idle-stream-not-kept") else { return [] }
        guard now >= touchAt else { return [.wake(at: touchAt)] }
        self.request = .touch
        return [.append(index: self.written.chunks, nil)]
    }

    private var isOver: Bool { if case .over = self.phase { true } else { false } }

    /// Lets callers go on while there is room, sends what there is, and ends what is to end.
    private mutating func goOn(_ now: LeaseInstant) -> [Action] {
        var actions: [Action] = []
        var admitted = 0
        var isTooLong = false
        for (frame, caller) in self.waiting {
            guard self.hasRoom || Planted.bug("writer-does-not-wait") else { break }
            isTooLong =
                self.written.bytes + frame.count > self.terms.maximumBytes && !Planted.bug("stream-without-limit")
            if isTooLong { break }
            admitted += 1
            self.written.bytes += frame.count
            self.written.parts += 1
            self.pending += frame
            actions.append(.admit(caller))
            if self.request == nil { actions += self.sendNext() }
        }
        self.waiting.removeFirst(admitted)
        if isTooLong { actions += self.refuse(DistributedGroupError.streamTooLong(self.terms.maximumBytes)) }
        if self.request == nil { actions += self.sendNext() }
        if self.request == nil, case .finishing = self.phase, self.waiting.isEmpty {
            self.phase = .over
            return actions + [.end(self.refusal.map { .failure($0) } ?? .success(self.written))]
        }
        if self.request == nil, let touchAt { actions.append(.wake(at: touchAt)) }
        return actions
    }

    private var hasRoom: Bool { self.unstored <= self.terms.window }

    private mutating func sendNext() -> [Action] {
        let count = min(self.pending.count - self.pendingStart, self.terms.chunkBytes)
        guard count > 0 else { return [] }
        let chunk: [UInt8]
        if count == self.pending.count {
            chunk = self.pending
            self.pending = []
        } else {
            chunk = Array(self.pending[self.pendingStart..<self.pendingStart + count])
            self.pendingStart += count
            if self.pendingStart == self.pending.count {
                self.pending.removeAll(keepingCapacity: true)
                self.pendingStart = 0
            } else if self.pendingStart >= self.terms.window {
                self.pending.removeFirst(self.pendingStart)
                self.pendingStart = 0
            }
        }
        self.request = .chunk(chunk)
        return [.append(index: self.written.chunks, chunk)]
    }

    /// A server without room lets nobody prolong a life; another time it may.
    private func isTouch(_ error: LeaseStoreError) -> Bool {
        if case .touch = self.request { error.code == .full } else { false }
    }

    /// No more parts are taken: everybody who writes is told, now and later. What was taken is stored.
    private mutating func refuse(_ error: any Error) -> [Action] {
        guard self.error == nil else { return [] }
        self.refusal = error
        defer { self.waiting = [] }
        return self.waiting.map { .refuse($0.caller, error) }
    }

    /// Nothing more can be stored: everybody who writes is told, now and later.
    private mutating func fail(_ error: any Error) -> [Action] {
        guard self.failure == nil, !self.isOver else { return [] }
        self.failure = error
        let refused = self.waiting.map { Action.refuse($0.caller, error) }
        self.waiting = []
        self.pending = []
        self.pendingStart = 0
        self.request = nil
        guard case .finishing = self.phase else { return refused }
        self.phase = .over
        return refused + [.end(.failure(error))]
    }
}
