import HiredisClient
import SingleflightLease

/// Whether a lease that the primary granted counts before replicas have it.
public enum LeaseConfirmation: Sendable, Hashable {
    /// At once. A failover to a replica that does not have the lease yet can lead to two leaders.
    case none
    /// When at least this many replicas have it, for which the primary waits (`WAIT`) for no longer than this, and up
    /// to half the command timeout.
    ///
    /// Then a failover to one of these replicas keeps the lease. It still loses it where another replica becomes the
    /// primary, and a primary that was cut off together with its replica goes on granting: the fence alone refuses
    /// what comes too late. Renewals are not waited for.
    ///
    /// A lease that is not confirmed in time is as good as none: the request fails as `unavailable`, and is repeated
    /// as others are. Each grant costs a round trip to the replicas, and the process's other requests wait behind it.
    case replicas(Int, within: Duration)
}

extension RedisLeaseStore {
    /// What answers a request to lead, once a lease that it was granted is confirmed.
    ///
    /// `WAIT` is about what its own connection wrote before. On another one, which had to be made in between, it says
    /// nothing.
    func confirming(_ reply: @escaping ReplyHandler<LeaseReply>, of key: FlightKey) -> ReplyHandler<LeaseReply> {
        guard case .replicas(let count, let limit) = self.configuration.confirm else { return reply }
        return { result in
            guard case .success(.enter(.lead)) = result else { return reply(result) }
            // On a cluster, of the primary that granted it.
            let place = self.keyspace.names(of: key).place
            let connection = self.client.connectionNumber(for: place)
            let wait = RedisCommand("WAIT", .integer(Int64(count)), .integer(max(limit.milliseconds, 1)))
            self.client.send(wait, timeout: self.commandTimeout, order: place) { answer in
                switch answer {
                case .success(.integer(let confirmed)) where confirmed >= count:
                    guard self.client.connectionNumber(for: place) == connection else {
                        return reply(.failure(.unconfirmed("the connection was lost before replicas confirmed it")))
                    }
                    reply(result)
                case .success(.integer(let confirmed)):
                    reply(.failure(.unconfirmed("\(confirmed) of \(count) replicas confirmed it within \(limit)")))
                case .success:
                    reply(.failure(LeaseStoreError(.protocolViolation, "unexpected reply to WAIT")))
                case .failure(let error):
                    var failure = LeaseStoreError(error)
                    failure.mayHaveExecuted = true
                    reply(.failure(failure))
                }
            }
        }
    }
}

extension LeaseStoreError {
    fileprivate static func unconfirmed(_ why: String) -> LeaseStoreError {
        LeaseStoreError(.unavailable, "the lease was granted, but \(why)", mayHaveExecuted: true)
    }
}
