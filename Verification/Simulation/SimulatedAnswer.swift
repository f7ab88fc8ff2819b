import Singleflight
import SingleflightLease

/// What a caller was told, or is to be told, as far as a simulation compares the two. The one place that reads
/// outcomes.
struct SimulatedAnswer {
    enum Content: Equatable {
        case value(SimulatedValue)
        case failure(SimulatedFailure)
        /// An error as every process is told of it: whose operation threw it, and in which flight.
        case remoteFailure(leader: String, LeaseToken?)
        case groupError(DistributedGroupError.Code)
        case canceled(Cancellation)
        /// Nothing that a simulation's callers may be told.
        case other
    }

    var content: Content
    var role: FlightRole?
    var source: ResultSource?
    var token: LeaseToken?
    var leader: String?
    var attempts: Int?
    var coordination: Coordination?
    var waited: Duration?
    var isShared: Bool?

    init(_ outcome: Outcome<ErasedValue>) {
        switch outcome {
        case .canceled(let reason):
            self.content = .canceled(reason)
        case .complete(let completion):
            self.content = Self.content(of: completion.result)
            self.role = completion.role
            self.source = completion.source
            self.token = completion.token
            self.leader = completion.leader
            self.attempts = completion.attempts
            self.coordination = completion.coordination
            self.waited = completion.waited
            self.isShared = completion.isShared
        }
    }

    /// What operations hand in, as callers in the same process are told of it without a lease.
    static func content(of result: Result<ErasedValue, any Error>) -> Content {
        switch result {
        case .success(let value):
            (try? value.value(as: SimulatedValue.self)).map { Content.value($0) } ?? .other
        case .failure(let error as SimulatedFailure): .failure(error)
        case .failure(let error as RemoteFailure): .remoteFailure(leader: error.leader, error.token)
        case .failure(let error as DistributedGroupError): .groupError(error.code)
        case .failure: .other
        }
    }

    /// What callers in other processes are told of a stored outcome.
    static func content(
        of outcome: StoredOutcome,
        _ token: LeaseToken,
        run: String,
        codec: String,
        hasTypedFailures: Bool
    ) -> (content: Content, leader: String?) {
        switch outcome {
        case .canceled(let reason):
            return (.canceled(Self.cancellation(reason)), nil)
        case .value(let bytes):
            guard let payload = StoredPayload(bytes: bytes) else { return (.other, nil) }
            let value = SimulatedCodec.read(payload.body, payload.codec)
            let isReadable = payload.codec == codec && value.kind != .undecodable
            return (isReadable ? .value(value) : .groupError(.decodingFailed), payload.leader)
        case .failure(let bytes):
            guard let payload = StoredPayload(bytes: bytes), let failure = payload.failure(of: token) else {
                return (.other, nil)
            }
            if let code = Self.code(failure.type) { return (.groupError(code), payload.leader) }
            return (
                hasTypedFailures
                    ? .failure(SimulatedFailure(run: run))
                    : .remoteFailure(leader: payload.leader, token), payload.leader
            )
        }
    }

    private static func code(_ text: String) -> DistributedGroupError.Code? {
        [.encodingFailed, .resultTooLarge, .flightTooLong].first { $0.description == text }
    }

    private static func cancellation(_ reason: CanceledFlight) -> Cancellation {
        switch reason {
        case .leaseExpired: .leaseExpired
        case .supersededTooOften: .supersededTooOften
        case .leaderShutDown: .leaderShutDown
        case .leaderLeft: .leaderLeft
        case .revoked(let by, let reason): .revoked(by: by, reason: reason)
        }
    }

    /// What callers in this process are told of a flight's end, but for values: those depend on what was handed in.
    ///
    /// - Parameter label: this process's.
    static func content(of end: FlightEnd, label: String) -> Content? {
        switch end {
        case .led, .ranAlone, .followed: nil
        case .leaseLost(_, .some(.revoked(let by, let reason))): .canceled(.revoked(by: by, reason: reason))
        case .leaseLost(_, .some(.leaseExpired)): .canceled(.leaseExpired)
        case .leaseLost: .canceled(.leaseLost)
        case .tooLong: .groupError(.flightTooLong)
        case .leaderLeft: .canceled(.leaderLeft)
        case .leaderCanceled(let reason): .canceled(.revoked(by: label, reason: reason))
        case .gone: .canceled(.storeLostFlight)
        case .lapsed: .canceled(.leaseExpired)
        case .absent: .canceled(.noFlight)
        case .ledElsewhere: .canceled(.abandoned)
        case .shutDown: .canceled(.leaderShutDown)
        case .unavailable: .groupError(.unavailable)
        }
    }

    var isCallerCanceled: Bool { self.content == .canceled(.callerCanceled) }
    var isWaitLimit: Bool { self.content == .canceled(.waitLimitReached) }
    var isLeft: Bool { self.content == .canceled(.left) }
    var isCanceled: Bool { if case .canceled = self.content { true } else { false } }

    /// The group's refusal, if it is one.
    var refusal: GroupError? {
        guard case .canceled(let reason) = self.content, reason.code == .refused else { return nil }
        return reason.underlying as? GroupError
    }
}
