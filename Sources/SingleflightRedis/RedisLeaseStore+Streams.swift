import HiredisClient
import SingleflightLease

/// The chunks of streams.
extension RedisLeaseStore {
    func append(_ request: AppendRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let names = self.keyspace.names(of: request.key)
        let keys = [names.lease, names.wait, names.done(request.token), names.chunks(request.token)]
        let arguments: [RedisArgument] = [
            .token(request.token), .integer(Int64(request.index)), .bytes(request.chunk ?? []),
            .integer(request.life.milliseconds), self.inboxPrefix(names),
        ]
        let read = { @Sendable (reply: ScriptReply) throws(LeaseStoreError) -> LeaseReply in
            .append(try reply.appendReply())
        }
        let told: ReplyHandler<LeaseReply> = { reply($0.mapError(\.asFull)) }
        let bytes = request.chunk?.count ?? 0
        guard bytes > PayloadConnection.threshold else {
            return self.evaluate(LeaseScripts.append, names, keys, arguments, told, read: read)
        }
        self.submit(told) { done in
            self.payloads.evaluate(LeaseScripts.append, keys: keys, arguments: arguments, at: names.place) {
                done(self.readLong($0, bytes: bytes, $1, read))
            }
        }
    }

    /// Where nothing waits behind it: the answer can be long.
    func read(_ request: ReadRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        let names = self.keyspace.names(of: request.key)
        self.submit(reply) { done in
            self.payloads.evaluate(
                LeaseScripts.read,
                keys: [names.chunks(request.token)],
                arguments: [
                    .integer(Int64(request.from)), .integer(Int64(request.maximumBytes)),
                    .integer(request.life.milliseconds),
                ],
                at: names.place
            ) {
                done(
                    self.readLong($0, bytes: request.maximumBytes, $1) { reply throws(LeaseStoreError) in
                        .read(try reply.readReply())
                    }
                )
            }
        }
    }
}
