/// Turns what the store says of a flight into what this process's callers are told.
struct ResolutionReader<Value: Sendable>: Sendable {
    let coder: PayloadCoder<Value>
    /// What callers are told of a flight without a lease.
    let coordinationWithoutLease: Coordination

    func finished(_ result: Result<Value, any Error>, token: LeaseToken?) -> FinishedFlight<Value> {
        FinishedFlight(
            result: result,
            token: token,
            leader: self.coder.label,
            source: .thisProcess,
            isSharedElsewhere: false,
            attempts: 1,
            coordination: token == nil ? self.coordinationWithoutLease : .coordinated
        )
    }

    /// - Parameter handedIn: the result that this process handed in, if it did.
    func local(
        _ resolution: FlightResolution,
        handedIn: Result<Value, any Error>?
    ) -> LocalResolution<Value> {
        switch resolution {
        case .led(let token, let verdict, let attempt):
            guard let result = handedIn else { return .canceled(.leaseLost) }
            var finished = self.finished(result, token: token)
            finished.attempts = attempt + 1
            switch verdict {
            case .accepted(let waiters):
                finished.isSharedElsewhere = waiters ?? 0 > 0
            case .unverified(let unavailable):
                finished.unverified = unavailable.error
                finished.coordination = .degraded
            }
            return .finished(finished)
        case .followed(let token, let outcome, let isReused, let takeovers):
            return self.local(outcome, of: token, isReused: isReused, takeovers: takeovers)
        case .leaseLost(_, let reason):
            switch reason {
            case .some(.revoked(let by, let reason)): return .canceled(.revoked(by: by, reason: reason))
            case .some(.leaseExpired): return .canceled(.leaseExpired)
            case .some(.leaderShutDown), .some(.leaderLeft), .some(.supersededTooOften), .none:
                return .canceled(.leaseLost)
            }
        case .tooLong(let token, let attempt):
            var finished = self.finished(.failure(DistributedGroupError.flightTooLong), token: token)
            finished.attempts = attempt + 1
            return .finished(finished)
        case .leaderLeft: return .canceled(.leaderLeft)
        case .leaderCanceled(_, let reason): return .canceled(.revoked(by: self.coder.label, reason: reason))
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
                coordination: .coordinated,
                trace: decoded.trace
            )
        )
    }
}
