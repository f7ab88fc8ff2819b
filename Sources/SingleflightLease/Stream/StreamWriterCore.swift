import Singleflight
import Synchronization

/// Writes the stream of one run of an operation: to the store under the flight's token, or into this process's memory
/// if there is no lease.
package final class StreamWriterCore: Sendable {
    private struct State {
        var machine: StreamWriterMachine
        var random: FlightRandom
        var nextCaller: UInt64 = 0
        var waiting: [UInt64: @Sendable (Result<Void, any Error>) -> Void] = [:]
        var onEnd: (@Sendable (Result<StreamEnd, any Error>) -> Void)?
        var timer: LeaseTimer?
        var effects = Turns<Effect>()
    }

    private enum Effect: Sendable {
        case append(index: Int, [UInt8]?)
        case wake(at: LeaseInstant)
        case tell(StoredChunk)
        case resume(@Sendable (Result<Void, any Error>) -> Void, Result<Void, any Error>)
        case end(@Sendable (Result<StreamEnd, any Error>) -> Void, Result<StreamEnd, any Error>)
    }

    private let driver: FlightDriver
    private let terms: StreamTerms
    /// `nil` without a lease.
    private let token: LeaseToken?
    private let isNoted: Bool
    /// Told of each chunk that is stored, by its length.
    private let onStored: @Sendable (Int) -> Void
    private let state: Mutex<State>

    /// - Parameters:
    ///   - token: the token under which the operation runs.
    ///   - isNoted: whether the lease tells how much was written.
    ///   - onStored: told of each chunk that is stored, by its length.
    package init(
        _ driver: FlightDriver,
        token: LeaseToken?,
        _ terms: StreamTerms,
        isNoted: Bool = true,
        onStored: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.isNoted = isNoted
        self.onStored = onStored
        self.driver = driver
        self.terms = terms
        self.token = token
        self.state = Mutex(State(machine: StreamWriterMachine(terms), random: driver.context.runtime.random()))
    }

    /// What was written so far.
    package var soFar: StreamEnd { self.state.withLock { $0.machine.soFar } }

    /// What is written and not stored, in bytes.
    package var unstored: Int { self.state.withLock { $0.machine.unstored } }

    // MARK: - Writing

    /// Writes a part. Calls `done` when there is room for more; names the call for ``withdraw(_:)``.
    @discardableResult
    package func write(_ part: [UInt8], done: @escaping @Sendable (Result<Void, any Error>) -> Void) -> UInt64 {
        let caller = self.state.withLock { state -> UInt64 in
            state.nextCaller += 1
            state.waiting[state.nextCaller] = done
            return state.nextCaller
        }
        self.step(.write(StreamFrames.frame(part), by: caller))
        return caller
    }

    /// The call does not wait any more: its part is not written, unless it has been.
    package func withdraw(_ caller: UInt64) {
        self.step(.withdraw(caller))
    }

    /// No more parts come. Calls `done` when all of them are stored, or never will be. To be called once.
    package func finish(done: @escaping @Sendable (Result<StreamEnd, any Error>) -> Void) {
        self.state.withLock { $0.onEnd = done }
        self.step(.finish)
    }

    /// A part was refused: the stream fails, behind the parts that were written before.
    func refuse(_ error: any Error) {
        self.step(.refuse(error))
    }

    /// Nothing more is to be stored.
    package func stop(_ error: any Error) {
        self.step(.stop(error))
    }

    func write(_ part: [UInt8]) async throws {
        let caller = Mutex<UInt64?>(nil)
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                let id = self.write(part) { continuation.resume(with: $0) }
                caller.withLock { $0 = id }
                // The handler may have run before there was an id.
                if Task.isCancelled { self.withdraw(id) }
            }
        } onCancel: {
            if let id = caller.withLock({ $0 }) { self.withdraw(id) }
        }
    }

    func finish() async throws -> StreamEnd {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                self.finish { continuation.resume(with: $0) }
                if Task.isCancelled { self.stop(CancellationError()) }
            }
        } onCancel: {
            self.stop(CancellationError())
        }
    }

    // MARK: - Lock, transition, unlock, act

    private func step(_ event: StreamWriterMachine.Event) {
        let now = self.driver.context.store.clock.now
        var effects = self.state.withLock { state in
            for action in state.machine.handle(event, now: now, using: &state.random) {
                if let effect = Self.effect(of: action, &state) { state.effects.append(effect) }
            }
            return state.effects.take()
        }
        while !effects.isEmpty {
            for effect in effects { self.act(effect) }
            effects = self.state.withLock { $0.effects.next() }
        }
    }

    private static func effect(of action: StreamWriterMachine.Action, _ state: inout State) -> Effect? {
        switch action {
        case .append(let index, let chunk): .append(index: index, chunk)
        case .wake(let deadline): .wake(at: deadline)
        case .tell(let chunk): .tell(chunk)
        case .admit(let caller): state.waiting.removeValue(forKey: caller).map { .resume($0, .success(())) }
        case .refuse(let caller, let error):
            state.waiting.removeValue(forKey: caller).map { .resume($0, .failure(error)) }
        case .end(let result): state.onEnd.take().map { .end($0, result) }
        }
    }

    private func act(_ effect: Effect) {
        switch effect {
        case .append(let index, let chunk):
            self.append(index, chunk)
        case .wake(let deadline):
            self.wake(at: deadline)
        case .tell(let chunk):
            self.driver.stored(chunk, under: self.token)
            if self.isNoted { self.driver.note(self.soFar) }
            self.onStored(chunk.bytes?.count ?? 0)
        case .resume(let done, let result):
            done(result)
        case .end(let done, let result):
            if let timer = self.state.withLock({ $0.timer.take() }) { self.driver.context.store.clock.cancel(timer) }
            done(result)
        }
    }

    private func append(_ index: Int, _ chunk: [UInt8]?) {
        guard let token else {
            if let chunk { self.driver.localChunks?.append(chunk) }
            return self.step(.replied(.success(.stored(waiters: 0))))
        }
        let request = AppendRequest(
            key: self.driver.key,
            token: token,
            index: index,
            chunk: chunk,
            life: self.terms.life
        )
        self.driver.context.store.send(request) { self.step(.replied($0)) }
    }

    /// The machine looks at the time itself: an earlier timer that is late does no harm.
    private func wake(at deadline: LeaseInstant) {
        let clock = self.driver.context.store.clock
        let timer = clock.schedule(at: deadline) { [weak self] in self?.step(.timer) }
        let obsolete = self.state.withLock { state in
            defer { state.timer = timer }
            return state.timer
        }
        if let obsolete { clock.cancel(obsolete) }
    }
}
