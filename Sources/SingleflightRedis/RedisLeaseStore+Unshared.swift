import HiredisClient
import SingleflightLease
import Synchronization

/// Flights that nobody joined: their end needs no script where the server can compare and delete.
extension RedisLeaseStore {
    /// Ends a flight: without a script if its lease's key should still hold what this process was granted it with.
    ///
    /// A script that registers a waiter marks the record. So a key that was deleted was led by this process, and
    /// awaited by nobody; whatever else is answered, nothing was changed, and the script does it.
    /// It also does what this could not in as few commands: to keep a result, or an earlier one, for reuse.
    func complete(_ request: CompleteRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let names = self.keyspace.names(of: request.key)
        guard let record = self.granted.withLock({ $0.take(request.token) }), request.reuse.milliseconds == 0,
            !request.keepsEarlier
        else {
            return self.completeByScript(request, names, reply: reply)
        }
        let place = self.deletionPlace(names)
        guard let form = self.deletions.begin(at: place) else {
            return self.completeByScript(request, names, reply: reply)
        }
        guard self.outstanding.begin() else {
            self.deletions.end(form, .open, at: place)
            return reply(.failure(.storeIsShutDown))
        }
        let answerBy = self.clock.now.advanced(by: self.commandTimeout)
        let earlier = EarlierResult()
        // Nobody is given an older result than this one. If there is none that is kept for reuse now, there is none
        // when the lease goes: only whoever holds it can keep one.
        let look = RedisCommand("STRLEN", names.last)
        self.client.send(look, timeout: self.commandTimeout, order: names.order) { result in
            if case .success(.integer(0)) = result { earlier.isNone.store(true, ordering: .relaxed) }
        }
        let delete = form.command(names.lease, .bytes(record))
        self.client.send(delete, timeout: self.commandTimeout, order: names.order) { result in
            self.deletions.end(form, .init(result), at: place)
            switch result {
            case .success(.integer(1)) where earlier.isNone.load(ordering: .relaxed):
                reply(.success(.complete(.accepted(waiters: 0))))
            case .success(.integer(1)):
                return self.endReuse(names, reply)
            case .failure(let error) where error.code != .server:
                // If it was carried out, the script that is asked next finds nothing: as after its own first sending.
                reply(.failure(self.failure(error)))
            case .success, .failure:
                let rest = max(self.clock.now.duration(to: answerBy), .zero)
                self.completeByScript(request, names, timeout: rest, reply: reply)
            }
            self.outstanding.end()
        }
    }

    /// The lease is gone; an earlier result is, or may be, kept for reuse. As long as that is not over, this one is not
    /// accepted.
    private func endReuse(_ names: Keyspace.Names, _ reply: @escaping ReplyHandler<LeaseReply>) {
        let end = RedisCommand("DEL", names.last)
        self.client.send(end, timeout: self.commandTimeout, order: names.order) { result in
            switch result {
            case .success:
                reply(.success(.complete(.accepted(waiters: 0))))
            case .failure(let error):
                var failure = self.failure(error)
                failure.mayHaveExecuted = true
                reply(.failure(failure))
            }
            self.outstanding.end()
        }
    }

    /// A lease was granted by the native command: its key holds this record.
    func remember(_ record: [UInt8], of request: EnterRequest, _ names: Keyspace.Names) {
        guard self.deletions.isPossible(at: self.deletionPlace(names)) else { return }
        let now = self.clock.now
        // The server granted it by now at the latest.
        let until = now.advanced(by: request.terms.duration + request.terms.grace)
        self.granted.withLock { $0.insert(record, of: request.token, until: until, now: now) }
    }

    /// The record is written anew, or the lease given up.
    func forget(_ token: LeaseToken) {
        self.granted.withLock { _ = $0.take(token) }
    }

    private func deletionPlace(_ names: Keyspace.Names) -> ComparingDeletions.Place {
        let node = self.client.kind == .cluster ? self.client.cluster.node(for: names.order) : nil
        return ComparingDeletions.Place(node: node, connection: self.client.connectionNumber(for: names.place))
    }
}

/// Whether a result of the key is kept for reuse, as far as the server has told.
private final class EarlierResult: Sendable {
    let isNone = Atomic(false)
}
