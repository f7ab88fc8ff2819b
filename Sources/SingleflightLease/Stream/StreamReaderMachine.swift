/// One reader's place in a stream, and what it knows of the flight. Does nothing itself: the core carries the actions
/// out, in order.
///
/// It reads only while somebody wants a part, and holds one answer of the store at most: a reader that stops holds no
/// more than its place. Announcements only say that there is more, or bring it sooner; the order and the end come from
/// the store.
package struct StreamReaderMachine: Sendable {
    /// What a reader is given.
    package enum Item: Hashable, Sendable {
        case part([UInt8])
        /// What came before is void: another run of the operation begins anew.
        case restarted
    }

    /// How the flight ended, for its reader.
    package enum End: Sendable {
        /// With all parts; the last run, if it is known.
        case complete(StreamSource?, StreamEnd)
        /// Without all parts, for this reason.
        case failed(StreamSource?, any Error)
    }

    package enum Event: Sendable {
        /// Somebody waits for the next item.
        case wanted
        /// The flight is this run of the operation now.
        case source(StreamSource)
        /// The run has one more chunk.
        case stored(StoredChunk, in: StreamSource)
        /// News may have been missed.
        case gap
        case replied(Result<ReadReply, LeaseStoreError>, from: Int, in: StreamSource)
        case ended(End)
        case timer
    }

    package enum Action: Sendable {
        case read(StreamSource, from: Int, maximumBytes: Int)
        case give(Item)
        /// There is no more; the reason, if parts are missing.
        case end((any Error)?)
        case wake(at: LeaseInstant)
    }

    private let terms: StreamTerms
    package private(set) var source: StreamSource?
    /// The chunks that were taken.
    package private(set) var place = 0
    /// The chunks that are known to be stored.
    private var stored = 0
    /// Whether the store was asked: what was stored before this reader came is announced to nobody.
    private var hasLooked = false
    private var frames = StreamFrames.Reader()
    /// The parts of the source that were given.
    private var given = 0
    private var isRestartOwed = false
    private var isWanted = false
    private var isReading = false
    /// The chunks that were known to be stored when the answer that is waited for was asked for.
    private var knownWhenAsked = 0
    /// Whether the flight had ended before the answer that is waited for was asked for.
    private var isReadingAfterEnd = false
    /// Whether everything was read that a flight left which failed.
    private var isDrained = false
    private var flightEnd: End?
    private var isOver = false
    private var delay: RetryDelay
    private var failingSince: LeaseInstant?
    private var wakeAt: LeaseInstant?
    /// When the reader last heard of a chunk; `nil` if it is to look whatever it heard.
    private var newsAt: LeaseInstant?

    package init(_ terms: StreamTerms) {
        self.terms = terms
        self.delay = Self.firstDelay(terms)
    }

    private static func firstDelay(_ terms: StreamTerms) -> RetryDelay {
        RetryDelay(first: min(.milliseconds(50), terms.lookInterval), limit: min(.seconds(1), terms.lookInterval))
    }

    /// The run that the last part was of which was given.
    package private(set) var lastGiven: StreamSource?

    /// What is held in memory, in bytes.
    package var heldBytes: Int { self.frames.count }

    package mutating func handle(
        _ event: Event,
        now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        guard !self.isOver else { return [] }
        switch event {
        case .wanted:
            self.isWanted = true
            self.delay = Self.firstDelay(self.terms)
        case .source(let source):
            self.take(source)
        case .stored(let chunk, let source):
            guard source == self.source else { return [] }
            self.stored = max(self.stored, chunk.index + 1)
            self.newsAt = now
            let isNext = chunk.index == self.place || Planted.bug("chunk-taken-out-of-order")
            if let bytes = chunk.bytes, isNext, !self.isReading, self.isWanted {
                self.frames.append(bytes)
                self.place += 1
            }
        case .gap:
            guard self.isWaiting else { return [] }
            self.newsAt = nil
            self.wakeAt = now.afterReconnect(using: &generator)
            return self.wake()
        case .replied(let reply, let from, let source):
            guard self.isReading, source == self.source, from == self.place else { return [] }
            self.isReading = false
            if let end = self.replied(reply, now, using: &generator) { return end }
        case .ended(let end):
            self.flightEnd = end
            self.isReadingAfterEnd = false
            switch end {
            case .complete(let source?, let end):
                self.take(source)
                self.stored = max(self.stored, end.chunks)
            case .failed(let source?, _):
                self.take(source)
            case .complete(nil, let end):
                self.stored = max(self.stored, end.chunks)
            case .failed(nil, _):
                break
            }
        case .timer:
            guard let wakeAt else { return [] }
            guard now >= wakeAt else { return self.wake() }
            self.wakeAt = nil
            return self.timer(now)
        }
        return self.goOn(now)
    }

    /// Whether somebody waits, and nothing is known that could be given or read.
    private var isWaiting: Bool { self.isWanted && !self.isReading && self.flightEnd == nil && self.source != nil }

    private mutating func take(_ source: StreamSource) {
        guard source != self.source else { return }
        if self.given > 0, !Planted.bug("restart-not-told") { self.isRestartOwed = true }
        self.source = source
        self.place = 0
        self.stored = 0
        self.hasLooked = false
        self.given = 0
        self.frames = StreamFrames.Reader()
        self.isReading = false
        self.isDrained = false
        self.failingSince = nil
        self.delay = Self.firstDelay(self.terms)
    }

    /// What an answer leads to at once, if anything.
    private mutating func replied(
        _ reply: Result<ReadReply, LeaseStoreError>,
        _ now: LeaseInstant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action]? {
        switch reply {
        case .success(let reply):
            self.failingSince = nil
            self.hasLooked = true
            self.delay = Self.firstDelay(self.terms)
            for chunk in reply.chunks { self.frames.append(chunk) }
            self.place += reply.chunks.count
            self.stored = max(self.stored, reply.stored)
            let isLost = reply.stored < self.knownWhenAsked || Planted.bug("earlier-answer-taken-for-a-loss")
            if reply.stored < self.stored, isLost {
                // Its leader finds out, too, and ends it; unless it has ended.
                if case .complete = self.flightEnd {
                    return self.end(DistributedGroupError.streamLost(stored: reply.stored, of: self.stored))
                }
                self.stored = max(reply.stored, self.place)
            }
            if self.isReadingAfterEnd, reply.stored <= self.place { self.isDrained = true }
            return nil
        case .failure(let error) where error.isTransient || error.mayHaveExecuted:
            let since = self.failingSince ?? now
            self.failingSince = since
            if self.flightEnd != nil, since.duration(to: now) > self.terms.patience { return self.end(after: error) }
            self.wakeAt = now.advanced(by: self.delay.next(using: &generator))
            return self.wake()
        case .failure(let error) where error.code == .shutDown && self.flightEnd == nil:
            // The flight ends, too, and says why.
            return []
        case .failure(let error):
            return self.end(after: error)
        }
    }

    /// What is left cannot be read. How the flight ended is told, if it failed anyway.
    private mutating func end(after error: LeaseStoreError) -> [Action] {
        if case .failed(_, let failure) = self.flightEnd { return self.end(failure) }
        return self.end(DistributedGroupError(streaming: error))
    }

    private mutating func timer(_ now: LeaseInstant) -> [Action] {
        guard !self.isReading, let source else { return [] }
        if self.isWanted {
            guard self.flightEnd == nil, self.failingSince == nil, let newsAt else { return self.read(source) }
            let lookAt = newsAt.advanced(by: self.terms.lookInterval)
            guard now < lookAt else { return self.read(source) }
            self.wakeAt = lookAt
            return self.wake()
        }
        guard self.isUnread, case .led = source else { return [] }
        self.wakeAt = now.advanced(by: self.terms.readerLife / 3)
        // Nothing is answered from there: only the chunks' life is prolonged.
        return [.read(source, from: .max, maximumBytes: 0)] + self.wake()
    }

    /// Whether there are parts in an ended stream that were not read.
    private var isUnread: Bool {
        switch self.flightEnd {
        case .complete(_, let end): self.place < end.chunks
        case .failed: !self.isDrained
        case nil: false
        }
    }

    private mutating func goOn(_ now: LeaseInstant) -> [Action] {
        let actions = self.isWanted ? self.wantedStep(now) : []
        return self.isWanted || self.isOver ? actions : actions + self.keep(now)
    }

    /// Sees to it that what an ended stream holds is kept until it is read.
    private mutating func keep(_ now: LeaseInstant) -> [Action] {
        guard self.isUnread, self.wakeAt == nil, !Planted.bug("unread-stream-not-kept") else { return [] }
        self.wakeAt = now.advanced(by: self.terms.readerLife / 3)
        return self.wake()
    }

    /// What is done for somebody who waits.
    private mutating func wantedStep(_ now: LeaseInstant) -> [Action] {
        switch self.flightEnd {
        case .complete(_, let end):
            if let item = self.nextItem() { return item }
            if self.place < end.chunks, let source = self.source, !Planted.bug("end-before-all-parts") {
                return self.read(source)
            }
            let isWhole = self.given == end.parts && self.frames.count == 0
            return self.end(
                isWhole || Planted.bug("end-before-all-parts")
                    ? nil : DistributedGroupError.streamLost(stored: self.given, of: end.parts)
            )
        case .failed(_, let error):
            if let item = self.nextItem() { return item }
            guard let source = self.source, !self.isDrained, !Planted.bug("failure-before-its-parts") else {
                return self.end(error)
            }
            return self.read(source)
        case nil:
            if let item = self.nextItem() { return item }
            guard let source else { return [] }
            if self.place < self.stored || !self.hasLooked { return self.read(source) }
            guard !self.isReading, self.wakeAt == nil, !Planted.bug("reader-that-hears-nothing-waits") else {
                return []
            }
            self.wakeAt = now.advanced(by: self.terms.lookInterval)
            return self.wake()
        }
    }

    private mutating func nextItem() -> [Action]? {
        if self.isRestartOwed {
            self.isRestartOwed = false
            self.isWanted = false
            return [.give(.restarted)]
        }
        guard let part = self.frames.next() else { return nil }
        self.isWanted = false
        self.given += 1
        self.lastGiven = self.source
        return [.give(.part(part))]
    }

    private mutating func read(_ source: StreamSource) -> [Action] {
        guard !self.isReading else { return [] }
        self.isReading = true
        self.knownWhenAsked = self.stored
        self.isReadingAfterEnd = self.flightEnd != nil
        return [.read(source, from: self.place, maximumBytes: self.terms.chunkBytes)]
    }

    private mutating func end(_ error: (any Error)?) -> [Action] {
        self.isOver = true
        self.frames = StreamFrames.Reader()
        return [.end(error)]
    }

    private func wake() -> [Action] { self.wakeAt.map { [.wake(at: $0)] } ?? [] }
}
