import CoreMetrics
import Logging
import Synchronization

/// Tells of one flight in this process. Its driver calls it, never under a lock.
package final class FlightObserver: Sendable {
    private struct State {
        var token: LeaseToken?
        var role = ProcessRole.none
        var isOperationCanceled = false
        var isResolved = false
        var startedAt: LeaseInstant?
        var finishedAt: LeaseInstant?
        /// Of the outcome that was handed in.
        var result: FlightResult?
    }

    /// The span that started the flight: what other processes are told if this one leads.
    package let trace: TraceContext?
    private let group: GroupObserver
    /// The call that started the flight.
    private let starter: CallObserver
    private let state = Mutex(State())

    init(group: GroupObserver, starter: CallObserver, trace: TraceContext?) {
        self.group = group
        self.starter = starter
        self.trace = trace
    }

    var now: LeaseInstant { self.group.clock.now }

    // MARK: - For the driver

    func started() {
        self.group.metrics?.inFlight.increment()
    }

    func entered(_ reply: Result<EnterReply, LeaseStoreError>, under token: LeaseToken) {
        switch reply {
        case .success(.lead(let attempt)):
            self.starter.flies(token)
            guard attempt > 0 else { return }
            self.group.metrics?.takeovers.increment()
            self.group.logger?.debug("took over", metadata: ["sf_token": "\(token)", "sf_attempt": "\(attempt)"])
        case .success(.follow(let token, _)):
            self.starter.flies(token)
            self.state.withLock { $0.role = .follower }
        case .success(.reuse), .success(.late), .failure:
            break
        }
    }

    func polled(_ reply: Result<PollReply, LeaseStoreError>) {
        self.group.metrics?.polled(PollResult(reply))
    }

    /// - Parameter deadline: when the leader would have given up its lease without this renewal.
    func renewed(_ reply: Result<RenewReply, LeaseStoreError>, of token: LeaseToken, before deadline: LeaseInstant?) {
        let result = RenewalResult(reply)
        if let metrics = self.group.metrics {
            metrics.renewed(result)
            if result == .renewed, let deadline {
                metrics.renewalSlack.record(self.now.duration(to: deadline))
            }
        }
        if case .failure(let error) = reply {
            self.group.logger?.debug(
                "lease not renewed, trying again",
                metadata: ["sf_token": "\(token)", "sf_error": "\(error)"]
            )
        }
    }

    func operationFinished() {
        let now = self.now
        let startedAt = self.state.withLock { state in
            state.finishedAt = now
            return state.startedAt
        }
        if let startedAt {
            self.group.metrics?.operations.record(startedAt.duration(to: now))
        }
    }

    /// The driver is about to carry the action out.
    func acting(_ action: FlightAction) {
        switch action {
        case .startOperation(let token):
            let now = self.now
            self.state.withLock { state in
                state.token = token
                state.role = .leader
                state.startedAt = now
            }
        case .cancelOperation(.leaseLost):
            let token = self.state.withLock { state in
                state.isOperationCanceled = true
                return state.token
            }
            self.lost(.running, token)
        case .complete(_, let outcome):
            let isFirst = self.state.withLock { state in
                defer { state.result = FlightResult(outcome) }
                return state.result == nil
            }
            if isFirst {
                self.group.metrics?.bytesSent.record(outcome.payloadByteCount)
            }
        case .resolve(let resolution):
            self.resolved(resolution)
        case .finish:
            self.finished()
        case .enter, .poll, .settle, .leave, .renew, .release, .revoke, .cancelOperation, .wake:
            break
        }
    }

    private func resolved(_ resolution: FlightResolution) {
        let state = self.state.withLock { state in
            state.isResolved = true
            return state
        }
        switch resolution {
        case .led:
            self.ended(.leader, state.result ?? .value)
            if let finishedAt = state.finishedAt {
                self.group.metrics?.verdicts.record(finishedAt.duration(to: self.now))
            }
        case .followed(_, let outcome, let isReused, _):
            self.ended(isReused ? .reused : .follower, FlightResult(outcome))
            if FlightResult(outcome) != .canceled {
                self.group.metrics?.bytesReceived.record(outcome.payloadByteCount)
            }
        case .leaseLost(let token, _):
            if !state.isOperationCanceled {
                self.lost(.completing, token)
            }
            self.ended(.leader, .canceled)
        case .tooLong:
            self.ended(.leader, .failure)
        case .leaderLeft, .leaderCanceled:
            self.ended(.leader, .canceled)
        case .gone:
            self.ended(.follower, .canceled)
        case .shutDown:
            self.ended(state.role, .canceled)
        case .unavailable:
            self.ended(.none, .unavailable)
        }
    }

    private func finished() {
        self.group.metrics?.inFlight.decrement()
        let state = self.state.withLock { $0 }
        if !state.isResolved {
            self.ended(state.role, .abandoned)
        }
    }

    private func lost(_ moment: LossMoment, _ token: LeaseToken?) {
        self.group.metrics?.lost(moment)
        self.group.logger?.debug(
            "lease lost",
            metadata: ["sf_token": "\(token?.description ?? "")", "sf_when": "\(moment.rawValue)"]
        )
    }

    private func ended(_ role: ProcessRole, _ outcome: FlightResult) {
        self.group.metrics?.flightEnded(FlightEnd(role: role, outcome: outcome))
    }
}

extension FlightResult {
    init(_ outcome: StoredOutcome) {
        switch outcome {
        case .value: self = .value
        case .failure: self = .failure
        case .canceled: self = .canceled
        }
    }
}

extension PollResult {
    init(_ reply: Result<PollReply, LeaseStoreError>) {
        switch reply {
        case .success(.done): self = .done
        case .success(.running): self = .running
        case .success(.expired): self = .expired
        case .success(.superseded): self = .superseded
        case .success(.gone): self = .gone
        case .failure: self = .failed
        }
    }
}

extension RenewalResult {
    init(_ reply: Result<RenewReply, LeaseStoreError>) {
        switch reply {
        case .success(.renewed): self = .renewed
        case .success(.lost): self = .lost
        case .success(.expired): self = .expired
        case .failure: self = .failed
        }
    }
}

extension StoredOutcome {
    fileprivate var payloadByteCount: Int {
        switch self {
        case .value(let payload), .failure(let payload): payload.count
        case .canceled: 0
        }
    }
}
