import CoreMetrics
import Logging
import Singleflight
import Synchronization

/// Tells of one flight in this process: its driver shows it each transition and what follows from it, never under a
/// lock.
final class FlightObserver: FlightObserving {
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
    let trace: TraceContext?
    private let group: GroupObserver
    /// The call that started the flight.
    private let starter: CallObserver
    private let state = Mutex(State())

    init(group: GroupObserver, starter: CallObserver, trace: TraceContext?) {
        self.group = group
        self.starter = starter
        self.trace = trace
    }

    /// Tells of one transition of the flight, after those before it, on a thread that may be blocked.
    func saw(_ step: ObservedStep) {
        self.group.work.run { self.tell(step) }
    }

    private func tell(_ step: ObservedStep) {
        switch step.event {
        case .start: self.group.metrics?.inFlight.increment()
        case .replied(.success(.enter(let reply)), .enter(let token, _, _)): self.entered(reply, under: token)
        case .replied(.success(.inspect(let inspection)), .look):
            guard let lease = inspection.lease else { break }
            self.starter.flightStarted(lease.token)
            self.state.withLock { $0.role = .follower }
        case .replied(let reply, .poll): self.group.metrics?.polled(PollResult(reply.as(PollRequest.self)))
        case .replied(let reply, .renew(let token, _, _)):
            self.renewed(reply.as(RenewRequest.self), of: token, at: step.now, before: step.deadline)
        case .operationEnded: self.operationEnded(at: step.now)
        case .replied, .heard, .timer, .progressed, .leaderLeft, .offered, .abandoned: break
        }
        for action in step.actions {
            self.acting(action, at: step.now)
        }
    }

    private func entered(_ reply: EnterReply, under token: LeaseToken) {
        switch reply {
        case .lead(let attempt):
            self.starter.flightStarted(token)
            guard attempt > 0 else { return }
            self.group.metrics?.takeovers.increment()
            self.group.logger?.debug("took over", metadata: ["sf_token": "\(token)", "sf_attempt": "\(attempt)"])
        case .follow(let token, _):
            self.starter.flightStarted(token)
            self.state.withLock { $0.role = .follower }
        case .reuse, .late:
            break
        }
    }

    /// - Parameter deadline: when the leader would have given up its lease without this renewal.
    private func renewed(
        _ reply: Result<RenewReply, LeaseStoreError>,
        of token: LeaseToken,
        at now: LeaseInstant,
        before deadline: LeaseInstant?
    ) {
        let result = RenewalResult(reply)
        if let metrics = self.group.metrics {
            metrics.renewed(result)
            if result == .renewed, let deadline {
                metrics.renewalSlack.record(max(now.duration(to: deadline), .zero))
            }
        }
        if case .failure(let error) = reply {
            self.group.logger?.debug(
                "lease not renewed, trying again",
                metadata: ["sf_token": "\(token)", "sf_error": "\(error)"]
            )
        }
    }

    private func operationEnded(at now: LeaseInstant) {
        let startedAt = self.state.withLock { state in
            state.finishedAt = now
            return state.startedAt
        }
        if let startedAt {
            self.group.metrics?.operations.record(startedAt.duration(to: now))
        }
    }

    private func acting(_ action: FlightAction, at now: LeaseInstant) {
        switch action {
        case .startOperation(let token):
            self.state.withLock { state in
                state.token = token
                state.role = .leader
                state.startedAt = now
            }
        case .moveOperation(let token):
            let lost = self.state.withLock { state in
                defer { state.token = token }
                return state.token
            }
            self.lost(.running, lost)
            self.group.logger?.debug("leads on under another lease", metadata: ["sf_token": "\(token)"])
        case .cancelOperation(.leaseLost):
            let token = self.state.withLock { state in
                state.isOperationCanceled = true
                return state.token
            }
            self.lost(.running, token)
        case .send(.complete(_, let outcome)):
            let isFirst = self.state.withLock { state in
                defer { state.result = FlightResult(outcome) }
                return state.result == nil
            }
            if isFirst {
                self.group.metrics?.bytesSent.record(outcome.payloadByteCount)
            }
        case .tell(let end):
            self.told(end, at: now)
        case .finish:
            self.finished()
        case .send, .cancelOperation, .wake:
            break
        }
    }

    private func told(_ end: FlightEnd, at now: LeaseInstant) {
        let state = self.state.withLock { state in
            state.isResolved = true
            return state
        }
        switch end {
        case .led, .ranAlone:
            self.ended(.leader, state.result ?? .value)
            if let finishedAt = state.finishedAt {
                self.group.metrics?.commits.record(finishedAt.duration(to: now))
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
        case .gone, .lapsed:
            self.ended(.follower, .canceled)
        case .absent, .ledElsewhere:
            self.ended(.none, .canceled)
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
        self.group.metrics?.flightEnded(FlightEndLabels(role: role, outcome: outcome))
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
        case .success(.withdrawn): self = .withdrawn
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
