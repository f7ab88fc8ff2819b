package import Singleflight
import Synchronization

/// Hears where a flight's parts are, and of each that is stored.
package protocol StreamFeeding: AnyObject, Sendable {
    /// The flight is this run of the operation now.
    func reads(_ source: StreamSource)
    func stored(_ chunk: StoredChunk, in source: StreamSource)
    /// News may have been missed.
    func missedNews()
}

/// Reads one caller's stream.
package final class StreamReaderCore: StreamFeeding {
    package typealias Item = StreamReaderMachine.Item
    /// `nil` is the end.
    package typealias Taker = @Sendable (Result<Item?, any Error>) -> Void

    private struct State {
        var machine: StreamReaderMachine
        var random: FlightRandom
        var taker: Taker?
        /// What a reader is told that asks after the end.
        var end: Result<Item?, any Error>?
        var timer: LeaseTimer?
        var effects = Turns<Effect>()
    }

    private enum Effect: Sendable {
        case read(StreamSource, from: Int, maximumBytes: Int)
        case give(Taker, Result<Item?, any Error>)
        case wake(at: LeaseInstant)
        case letGo(LeaseTimer)
    }

    private let key: FlightKey
    private let context: FlightContext
    private let terms: StreamTerms
    private let state: Mutex<State>

    package init(_ key: FlightKey, _ context: FlightContext, _ terms: StreamTerms) {
        self.key = key
        self.context = context
        self.terms = terms
        self.state = Mutex(State(machine: StreamReaderMachine(terms), random: context.runtime.random()))
    }

    /// The run that the last part was of which was given.
    package var lastGiven: StreamSource? { self.state.withLock { $0.machine.lastGiven } }

    /// Which run is read, and how many of its chunks were taken.
    package var source: StreamSource? { self.state.withLock { $0.machine.source } }
    package var place: Int { self.state.withLock { $0.machine.place } }

    /// What is held in memory, in bytes.
    package var heldBytes: Int { self.state.withLock { $0.machine.heldBytes } }

    // MARK: - What happens

    /// Takes the next item as soon as it is here. One may wait at a time.
    package func next(_ taker: @escaping Taker) {
        let refused = self.step(.wanted) { state -> Result<Item?, any Error>? in
            if let end = state.end { return end }
            guard state.taker == nil else { return .failure(DistributedGroupError.streamReadTwice) }
            state.taker = taker
            return nil
        }
        if let refused { taker(refused) }
    }

    package func reads(_ source: StreamSource) {
        self.step(.source(source))
    }

    package func stored(_ chunk: StoredChunk, in source: StreamSource) {
        self.step(.stored(chunk, in: source))
    }

    package func missedNews() {
        self.step(.gap)
    }

    /// The flight has ended for this caller.
    package func ended(_ outcome: Outcome<ErasedValue>) {
        self.ended(StreamReaderMachine.End(outcome))
    }

    package func ended(_ end: StreamReaderMachine.End) {
        self.step(.ended(end))
    }

    /// The reader goes away; one that waits is told `error`.
    package func leave(_ error: any Error) {
        let (taker, timer) = self.state.withLock { state in
            if state.end == nil { state.end = .failure(error) }
            return (state.taker.take(), state.timer.take())
        }
        if let timer { self.context.store.clock.cancel(timer) }
        taker?(.failure(error))
    }

    // MARK: - Lock, transition, unlock, act

    private func step(_ event: StreamReaderMachine.Event) {
        _ = self.step(event) { _ in nil }
    }

    /// - Parameter refusal: why the event does not happen, if so.
    private func step(
        _ event: StreamReaderMachine.Event,
        unless refusal: (inout State) -> Result<Item?, any Error>?
    ) -> Result<Item?, any Error>? {
        let now = self.context.store.clock.now
        let (refused, turn) = self.state.withLock { state -> (Result<Item?, any Error>?, ShortList<Effect>) in
            if let refused = refusal(&state) { return (refused, []) }
            guard state.end == nil else { return (nil, []) }
            for action in state.machine.handle(event, now: now, using: &state.random) { Self.apply(action, &state) }
            return (nil, state.effects.take())
        }
        var effects = turn
        while !effects.isEmpty {
            for effect in effects { self.act(effect) }
            effects = self.state.withLock { $0.effects.next() }
        }
        return refused
    }

    private static func apply(_ action: StreamReaderMachine.Action, _ state: inout State) {
        switch action {
        case .read(let source, let place, let bytes):
            state.effects.append(.read(source, from: place, maximumBytes: bytes))
        case .give(let item):
            if let taker = state.taker.take() { state.effects.append(.give(taker, .success(item))) }
        case .end(let error):
            let told: Result<Item?, any Error> = error.map { .failure($0) } ?? .success(nil)
            if let timer = state.timer.take() { state.effects.append(.letGo(timer)) }
            guard let taker = state.taker.take() else {
                state.end = told
                break
            }
            // What comes after the end of a sequence is its end: an error is told once.
            state.end = .success(nil)
            state.effects.append(.give(taker, told))
        case .wake(let deadline):
            state.effects.append(.wake(at: deadline))
        }
    }

    private func act(_ effect: Effect) {
        switch effect {
        case .read(let source, let place, let bytes):
            self.read(source, from: place, maximumBytes: bytes)
        case .give(let taker, let result):
            taker(result)
        case .wake(let deadline):
            self.wake(at: deadline)
        case .letGo(let timer):
            self.context.store.clock.cancel(timer)
        }
    }

    private func read(_ source: StreamSource, from place: Int, maximumBytes: Int) {
        switch source {
        case .here(let chunks):
            self.step(.replied(.success(chunks.read(from: place)), from: place, in: source))
        case .led(let token):
            let request = ReadRequest(
                key: self.key,
                token: token,
                from: place,
                maximumBytes: maximumBytes,
                life: self.terms.readerLife
            )
            self.context.store.send(request) { self.step(.replied($0, from: place, in: source)) }
        }
    }

    private func wake(at deadline: LeaseInstant) {
        let clock = self.context.store.clock
        let timer = clock.schedule(at: deadline) { [weak self] in self?.step(.timer) }
        let obsolete = self.state.withLock { state -> LeaseTimer? in
            guard state.end == nil else { return timer }
            defer { state.timer = timer }
            return state.timer
        }
        if let obsolete { clock.cancel(obsolete) }
    }
}

extension StreamReaderMachine.End {
    init(_ outcome: Outcome<ErasedValue>) {
        let source: StreamSource? =
            if case .complete(let completion) = outcome { completion.token.map { .led($0) } } else { nil }
        do {
            self = .complete(source, try outcome.get().value())
        } catch {
            self = .failed(source, error)
        }
    }
}
