import HiredisClient
import SingleflightLease

/// Results by script: short ones, and long ones that have a connection of their own.
extension RedisLeaseStore {
    /// - Parameter timeout: until when the answer is of use; the command timeout unless told otherwise.
    func completeByScript(
        _ request: CompleteRequest,
        _ names: Keyspace.Names,
        timeout: Duration? = nil,
        reply: @escaping ReplyHandler<LeaseReply>
    ) {
        let (status, payload) = request.outcome.wireForm
        let keys = [names.lease, names.wait, names.done(request.token), names.last]
        let arguments: [RedisArgument] = [
            .token(request.token), .string(status), .bytes(payload),
            .integer(request.reuse.milliseconds == 0 && request.keepsEarlier ? -1 : request.reuse.milliseconds),
            self.inboxPrefix(names), self.eventChannel(names),
        ]
        let read = { @Sendable (reply: ScriptReply) throws(LeaseStoreError) -> LeaseReply in
            .complete(try reply.completeReply())
        }
        guard payload.count > LeaseScripts.longPayload else {
            return self.evaluate(LeaseScripts.complete, names, keys, arguments, timeout: timeout, reply, read: read)
        }
        let told: ReplyHandler<LeaseReply> = { reply($0.mapError(\.asFull)) }
        guard payload.count > PayloadConnection.threshold else {
            return self.evaluate(LeaseScripts.completeLong, names, keys, arguments, timeout: timeout, told, read: read)
        }
        self.submit(told) { done in
            self.whileRenewing(request.token, names) { end in
                self.payloads.evaluate(
                    LeaseScripts.completeLong,
                    keys: keys,
                    arguments: arguments,
                    at: names.place
                ) { result, wasCutTwice in
                    end()
                    done(self.readLong(result, bytes: payload.count, wasCutTwice, read))
                }
            }
        }
    }

    /// Renews the lease for as long as its result is on its way, which may be longer than the lease.
    ///
    /// - Parameter body: calls what it gets when the result has arrived, or never will.
    private func whileRenewing(
        _ token: LeaseToken,
        _ names: Keyspace.Names,
        _ body: @escaping @Sendable (_ end: @escaping @Sendable () -> Void) -> Void
    ) {
        self.client.send(RedisCommand("GET", names.lease), order: names.order) { result in
            guard case .success(.bulk(let bytes)) = result, var record = LeaseRecord(bytes: bytes),
                record.token == token
            else {
                // Without a lease the result is refused, which the store is to say.
                return body {}
            }
            // The scripts write what the flight waits for, and keep it.
            record.awaited = []
            let renewed = record.bytes
            let renewals = RepeatedCall(on: self.eventLoopClock, every: record.duration / 3) {
                self.client.evaluate(
                    LeaseScripts.renew,
                    keys: [names.lease, names.wait, names.done(token)],
                    arguments: [
                        .token(token), .bytes(renewed), "0", "", self.inboxPrefix(names),
                        self.eventChannel(names),
                    ],
                    order: names.order
                ) { _ in }
            }
            renewals.start()
            body { renewals.end() }
        }
    }
}
