import Singleflight
import Synchronization

/// What a flight came to, as this process's local group hands it to every caller.
enum LocalResolution<Value: Sendable>: Sendable {
    case finished(FinishedFlight<Value>)
    case canceled(DistributedCancellation)
    /// The store could not be asked, and no operation ran here.
    case unavailable(LeaseStoreError)
}

/// A flight with a result.
struct FinishedFlight<Value: Sendable>: Sendable {
    var result: Result<Value, any Error>
    var token: LeaseToken
    var leader: String?
    var source: ResultSource
    /// Whether other processes got the result, too.
    var isSharedElsewhere: Bool
    var attempts: Int
    /// Why the store's verdict on the result could not be learned, if so.
    var unverified: LeaseStoreError?
    /// The leader's span, if it has one.
    var trace: TraceContext?
    /// When this process learned that the result stands, if somebody wants to know.
    var learnedAt: LeaseInstant?
}

/// One flight's operation and its local callers: what the flight's driver acts on.
final class LocalFlight<Key: FlightKeyConvertible, Value: Sendable>: FlightOwner {
    private enum Operation {
        /// It is not known yet whether this process leads.
        case pending(CheckedContinuation<Grant?, Never>?)
        case granted(Grant)
        case finished(Result<Value, any Error>)
        /// It will not run, or its result is not wanted.
        case canceled
    }

    private struct Grant: Sendable {
        var token: LeaseToken
        var driver: FlightDriver
    }

    private struct State {
        var operation = Operation.pending(nil)
        var task: Task<Void, Never>?
    }

    private let key: Key
    private let leader: Leader<Key, LocalResolution<Value>>
    private let coder: PayloadCoder<Value>
    private let observer: FlightObserver?
    private let state = Mutex(State())

    init(
        key: Key,
        leader: Leader<Key, LocalResolution<Value>>,
        coder: PayloadCoder<Value>,
        observer: FlightObserver?
    ) {
        self.key = key
        self.leader = leader
        self.coder = coder
        self.observer = observer
    }

    /// Makes the operation's task. It waits for the lease first: made here, it inherits the task-locals and the priority of the
    /// caller that starts the flight, which the thread that brings the store's reply does not have.
    func prepare(_ operation: @escaping @Sendable (Flight<Key>) async throws -> Value) {
        let task = Task {
            guard let grant = await self.granted() else { return }
            let flight = Flight(key: self.key, token: grant.token, driver: grant.driver)
            let result: Result<Value, any Error>
            do {
                result = .success(try await self.leader.perform { try await operation(flight) })
            } catch {
                result = .failure(error)
            }
            let encoded = self.coder.encode(result, trace: self.observer?.trace)
            let isWanted = self.state.withLock { state in
                guard case .granted = state.operation else { return false }
                state.operation = .finished(encoded.local)
                return true
            }
            if isWanted {
                grant.driver.operationFinished(encoded.outcome)
            }
        }
        let isCanceled = self.state.withLock { state in
            state.task = task
            if case .canceled = state.operation { return true }
            return false
        }
        if isCanceled {
            task.cancel()
        }
    }

    private func granted() async -> Grant? {
        await withCheckedContinuation { continuation in
            let decided: Grant?? = self.state.withLock { state in
                switch state.operation {
                case .pending:
                    state.operation = .pending(continuation)
                    return .none
                case .granted(let grant):
                    return .some(grant)
                case .finished, .canceled:
                    return .some(nil)
                }
            }
            if let decided {
                continuation.resume(returning: decided)
            }
        }
    }

    // MARK: - FlightOwner

    func startOperation(token: LeaseToken, driver: FlightDriver) {
        let grant = Grant(token: token, driver: driver)
        let continuation: CheckedContinuation<Grant?, Never>? = self.state.withLock { state in
            guard case .pending(let continuation) = state.operation else { return nil }
            state.operation = .granted(grant)
            return continuation
        }
        continuation?.resume(returning: grant)
    }

    func cancelOperation(_ loss: OperationLoss) {
        self.endOperation()
    }

    func resolve(_ resolution: FlightResolution) {
        let learnedAt = self.observer?.now
        var local = self.local(resolution)
        if let learnedAt, case .finished(var finished) = local {
            finished.learnedAt = learnedAt
            if case .thisProcess = finished.source { finished.trace = self.observer?.trace }
            local = .finished(finished)
        }
        self.endOperation()
        self.leader.complete(.success(local))
    }

    func finish() {
        self.endOperation()
    }

    private func endOperation() {
        let (task, continuation) = self.state.withLock { state in
            let task = state.task
            let operation = state.operation
            state.operation = .canceled
            if case .pending(let continuation) = operation {
                return (task, continuation)
            }
            if case .finished = operation {
                return (nil, nil)
            }
            return (task, nil)
        }
        task?.cancel()
        continuation?.resume(returning: nil)
    }

    private func local(_ resolution: FlightResolution) -> LocalResolution<Value> {
        switch resolution {
        case .led(let token, let verdict, let attempt):
            let result: Result<Value, any Error>? = self.state.withLock { state in
                if case .finished(let result) = state.operation { result } else { nil }
            }
            guard let result else { return .canceled(.leaseLost) }
            var finished = FinishedFlight(
                result: result,
                token: token,
                leader: self.coder.label,
                source: .thisProcess,
                isSharedElsewhere: false,
                attempts: attempt + 1
            )
            switch verdict {
            case .accepted(let waiters): finished.isSharedElsewhere = waiters ?? 0 > 0
            case .unverified(let unavailable): finished.unverified = unavailable.error
            }
            return .finished(finished)
        case .followed(let token, let outcome, let isReused, let takeovers):
            return self.local(outcome, of: token, isReused: isReused, takeovers: takeovers)
        case .leaseLost(_, let reason):
            switch reason {
            case .some(.revoked(let by, let reason)): return .canceled(.revoked(by: by, reason: reason))
            case .some(.leaseExpired): return .canceled(.leaseExpired)
            case .some(.leaderShutDown), .some(.supersededTooOften), .none: return .canceled(.leaseLost)
            }
        case .tooLong(let token):
            return .finished(
                FinishedFlight(
                    result: .failure(DistributedGroupError.flightTooLong),
                    token: token,
                    leader: self.coder.label,
                    source: .thisProcess,
                    isSharedElsewhere: false,
                    attempts: 1
                )
            )
        case .gone: return .canceled(.storeLostFlight)
        case .shutDown: return .canceled(.leaderShutDown)
        case .unavailable(let unavailable): return .unavailable(unavailable.error)
        }
    }

    private func local(
        _ outcome: StoredOutcome,
        of token: LeaseToken,
        isReused: Bool,
        takeovers: Int
    ) -> LocalResolution<Value> {
        let decoded: PayloadCoder<Value>.Decoded
        switch outcome {
        case .value(let bytes): decoded = self.coder.decode(value: bytes)
        case .failure(let bytes): decoded = self.coder.decode(failure: bytes, token: token)
        case .canceled(let reason): return .canceled(DistributedCancellation(reason))
        }
        return .finished(
            FinishedFlight(
                result: decoded.result,
                token: token,
                leader: decoded.leader,
                source: isReused ? .reused : .remote,
                isSharedElsewhere: true,
                attempts: takeovers + 1,
                trace: decoded.trace
            )
        )
    }
}

extension DistributedGroupError {
    /// What everybody gets when an operation ran longer than a flight may.
    static var flightTooLong: DistributedGroupError {
        DistributedGroupError(.flightTooLong, "the operation ran longer than the group's maximumFlight")
    }
}
