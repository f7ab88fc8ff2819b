package import Singleflight

/// What a flight came to, as this process hands it to every local caller.
///
/// Indirect: each waiting caller has room for it in some frames of its task, and for every caller it is copied.
package enum Settlement: Sendable {
    indirect case finished(FinishedFlight)
    case canceled(Cancellation)
    /// The store could not be asked, and no operation ran here.
    case unavailable(LeaseStoreError)
}

/// A flight with a result.
package struct FinishedFlight: Sendable {
    package var result: Result<ErasedValue, any Error>
    /// Nil without a lease.
    package var token: LeaseToken?
    var leader: String?
    var source: ResultSource
    /// Whether the result is only the error that says why the outcome could not be decoded here.
    var isUndecodable = false
    /// Whether other processes got the result, too.
    var isSharedElsewhere = false
    var attempts = 1
    var coordination: Coordination
    /// Why the store's verdict on the result could not be learned, if so.
    var unverified: LeaseStoreError?
    /// The leader's span, if it has one.
    var trace: TraceContext?
    /// When this process learned that the result stands, if somebody wants to know.
    var learnedAt: LeaseInstant?
}

extension FlightContext {
    /// What callers are told of a flight's end; `nil` if its outcome must be decoded first.
    ///
    /// - Parameters:
    ///   - handedIn: the result that this process handed in, if it did.
    ///   - coordination: what callers are told of a flight without a lease.
    func settlement(
        of end: FlightEnd,
        handedIn: Result<ErasedValue, any Error>?,
        alone coordination: Coordination
    ) -> Settlement? {
        switch end {
        case .led(let token, let verdict, let attempt):
            guard let result = handedIn else { return .canceled(.leaseLost) }
            var finished = self.ownFlight(Self.named(result, token), token: token, coordination)
            finished.attempts = attempt + (Planted.bug("attempts-counted-from-zero") ? 0 : 1)
            switch verdict {
            case .accepted(let waiters):
                finished.isSharedElsewhere = waiters ?? 0 > 0
            case .unverified(let error):
                // That there is no room is the store's word: the result stands, though nobody else gets it.
                if error.code != .full { finished.unverified = error }
                finished.coordination = Planted.bug("unverified-told-as-certain") ? .coordinated : .degraded
            }
            return .finished(finished)
        case .ranAlone:
            guard let result = handedIn else { return .canceled(.leaseLost) }
            return .finished(self.ownFlight(result, token: nil, coordination))
        case .followed(_, .canceled(let reason), _, _):
            return .canceled(Cancellation(reason))
        case .followed:
            return nil
        case .leaseLost(_, .some(.revoked(let by, let reason))) where !Planted.bug("revocation-told-as-a-loss"):
            return .canceled(.revoked(by: by, reason: reason))
        case .leaseLost(_, .some(.leaseExpired)):
            return .canceled(.leaseExpired)
        case .leaseLost:
            return .canceled(.leaseLost)
        case .tooLong(let token, let attempt):
            var finished = self.ownFlight(.failure(DistributedGroupError.flightTooLong), token: token, coordination)
            finished.attempts = attempt + 1
            return .finished(finished)
        case .leaderLeft: return .canceled(.leaderLeft)
        case .leaderCanceled(let reason): return .canceled(.revoked(by: self.store.label, reason: reason))
        case .gone: return .canceled(.storeLostFlight)
        case .lapsed: return .canceled(.leaseExpired)
        case .absent: return .canceled(.noFlight)
        case .ledElsewhere: return .canceled(.abandoned)
        case .shutDown: return .canceled(.leaderShutDown)
        case .unavailable(let error): return .unavailable(error)
        }
    }

    /// The result, with the flight's token in its error, which was made before it was known under which lease it would
    /// stand.
    private static func named(
        _ result: Result<ErasedValue, any Error>,
        _ token: LeaseToken
    ) -> Result<ErasedValue, any Error> {
        result.mapError { error in
            guard var failure = error as? RemoteFailure, failure.original != nil else { return error }
            failure.token = token
            return failure
        }
    }

    private func ownFlight(
        _ result: Result<ErasedValue, any Error>,
        token: LeaseToken?,
        _ coordination: Coordination
    ) -> FinishedFlight {
        FinishedFlight(
            result: result,
            token: token,
            leader: self.store.label,
            source: .thisProcess,
            coordination: token == nil ? coordination : .coordinated
        )
    }

    /// The same of an outcome that another process stored. Runs the group's codec.
    func decoded(_ end: FlightEnd) -> Settlement {
        guard case .followed(let token, let outcome, let isReused, let takeovers) = end else {
            return .canceled(.leaseLost)
        }
        let decoded: PayloadCoder<ErasedValue>.Decoded
        switch outcome {
        case .value(let bytes): decoded = self.coder.decode(value: bytes)
        case .failure(let bytes): decoded = self.coder.decode(failure: bytes, token: token)
        case .canceled(let reason): return .canceled(Cancellation(reason))
        }
        return .finished(
            FinishedFlight(
                result: decoded.result,
                token: token,
                leader: decoded.leader,
                source: isReused && !Planted.bug("reuse-told-as-waiting") ? .reused : .remote,
                isUndecodable: decoded.isUndecodable,
                isSharedElsewhere: true,
                attempts: takeovers + 1,
                coordination: .coordinated,
                trace: decoded.trace
            )
        )
    }
}
