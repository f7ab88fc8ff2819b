import CoreMetrics
import Logging
import Singleflight
import Tracing

/// Tells of one call, from its beginning to its end. Used in the caller's task, so that what is told stands in that
/// task's trace.
final class CallObserver: Sendable {
    private let group: GroupObserver
    /// The key, if it is to be named.
    private let key: String?
    private let calledAt: LeaseInstant
    private let span: (any Span)?

    init(group: GroupObserver, key: String?, calledAt: LeaseInstant, span: (any Span)?) {
        self.group = group
        self.key = key
        self.calledAt = calledAt
        self.span = span
    }

    /// Calls `body` so that the tasks it makes belong to the call's span.
    static func within<Result>(_ call: CallObserver?, _ body: () -> Result) -> Result {
        guard let span = call?.span else { return body() }
        return ServiceContext.$current.withValue(span.context, operation: body)
    }

    /// The call starts a flight of this process.
    func flight() -> FlightObserver {
        let trace = self.span.flatMap { span in
            self.group.tracer.flatMap { TraceContext(span.context, by: $0) }
        }
        return FlightObserver(group: self.group, starter: self, trace: trace)
    }

    /// The flight that the call started has this token.
    func flightStarted(_ token: LeaseToken) {
        self.span?.updateAttributes { $0["sf.token"] = token.description }
    }

    /// The caller runs again with this result.
    func resumed(by flight: FinishedFlight, as role: FlightRole) {
        if let metrics = self.group.metrics, let learnedAt = flight.learnedAt {
            metrics.woke(CallRole(role), after: learnedAt.duration(to: self.group.clock.now))
        }
        // The span of a caller that did not lead points to the leader's: in this process for a subscriber, on another
        // host for a follower.
        if let span, role != .leader, let trace = flight.trace, let tracer = self.group.tracer {
            span.addLink(SpanLink(context: trace.serviceContext(by: tracer), attributes: ["sf.role": "leader"]))
        }
    }

    /// The call ends.
    func end(_ outcome: Outcome<some Sendable>) {
        let wait = self.calledAt.duration(to: self.group.clock.now)
        let end = CallEnd(outcome)
        if let metrics = self.group.metrics {
            metrics.callEnded(end, after: wait)
            if [.subscriber, .follower, .reused].contains(end.role) {
                metrics.coalesced.increment()
            }
            if case .complete(let completion) = outcome, completion.coordination == .degraded {
                metrics.degraded.increment()
            }
        }
        if let span {
            self.describe(outcome, end, in: span)
            span.end()
        }
        if let logger = self.group.logger {
            self.log(outcome, end, after: wait, by: logger)
        }
        if case .complete(let completion) = outcome {
            self.group.coordinated(completion.coordination != .degraded)
        }
    }

    /// A refresh ends; told on a thread that may be blocked.
    func refreshed(_ result: RefreshResult) {
        self.group.work.run { self.tell(result) }
    }

    private func tell(_ result: RefreshResult) {
        self.group.metrics?.refreshed(result)
        guard let logger = self.group.logger else { return }
        var metadata: Logger.Metadata = ["sf_outcome": "\(result.rawValue)"]
        if let key { metadata["sf_key"] = "\(key)" }
        switch result {
        case .value, .needless: logger.debug("refresh ended", metadata: metadata)
        case .failure, .canceled, .unavailable:
            logger.notice("refresh failed; the earlier result is kept to its end", metadata: metadata)
        }
    }

    private func describe(_ outcome: Outcome<some Sendable>, _ end: CallEnd, in span: any Span) {
        span.updateAttributes { attributes in
            attributes["sf.role"] = end.role.rawValue
            attributes["sf.outcome"] = end.outcome.rawValue
            switch outcome {
            case .complete(let completion):
                attributes["sf.token"] = completion.token?.description
                attributes["sf.leader"] = completion.leader.map { String(shown: $0.utf8) }
                attributes["sf.shared"] = completion.isShared
                attributes["sf.attempts"] = completion.attempts
                attributes["sf.degraded"] = completion.coordination == .degraded
            case .canceled(let reason):
                attributes["sf.reason"] = reason.code.description
            }
        }
        switch outcome {
        case .complete(let completion):
            guard case .failure(let error) = completion.result else { return }
            span.attributes["error.type"] = (error as? RemoteFailure)?.type ?? String(reflecting: type(of: error))
            span.recordError((error as? RemoteFailure)?.original ?? error)
            span.setStatus(SpanStatus(code: .error))
        case .canceled where end.outcome == .left:
            // The caller's own wish.
            break
        case .canceled(.noFlight):
            // An answer, and no failure.
            break
        case .canceled(let reason):
            span.attributes["error.type"] = reason.code.description
            span.setStatus(SpanStatus(code: .error))
        }
    }

    private func log(
        _ outcome: Outcome<some Sendable>,
        _ end: CallEnd,
        after wait: Duration,
        by logger: Logger
    ) {
        guard logger.logLevel <= .debug else { return }
        var metadata: Logger.Metadata = [
            "sf_role": "\(end.role.rawValue)",
            "sf_outcome": "\(end.outcome.rawValue)",
            "sf_wait": "\(wait)",
        ]
        if let key { metadata["sf_key"] = "\(key)" }
        switch outcome {
        case .complete(let completion):
            if let token = completion.token { metadata["sf_token"] = "\(token)" }
            if let leader = completion.leader { metadata["sf_leader"] = "\(String(shown: leader.utf8))" }
        case .canceled(let reason):
            metadata["sf_reason"] = "\(reason.code.description)"
        }
        logger.debug("call ended", metadata: metadata)
    }
}

extension CallRole {
    init(_ role: FlightRole) {
        switch role {
        case .leader: self = .leader
        case .subscriber: self = .subscriber
        case .follower: self = .follower
        case .reused: self = .reused
        }
    }
}

extension CallEnd {
    init(_ outcome: Outcome<some Sendable>) {
        switch outcome {
        case .complete(let completion):
            switch completion.result {
            case .success:
                self.init(role: CallRole(completion.role), outcome: .value)
            case .failure(let error as DistributedGroupError) where [.unavailable, .refused].contains(error.code):
                self.init(role: .none, outcome: .unavailable)
            case .failure:
                self.init(role: CallRole(completion.role), outcome: .failure)
            }
        case .canceled(let reason):
            switch reason.code {
            case .callerCanceled, .waitLimitReached, .left: self.init(role: .none, outcome: .left)
            case .refused: self.init(role: .none, outcome: .refused)
            default: self.init(role: .none, outcome: .canceled)
            }
        }
    }
}
