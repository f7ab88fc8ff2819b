import HiredisClient
import SingleflightLease
import Synchronization

/// How a request becomes a script's evaluation, and its answer a reply.
extension RedisLeaseStore {
    /// Evaluates a script for a request, unless the store is shut down. The one closure holds all that the reply needs:
    /// each more would be an allocation for every request.
    func evaluate(
        _ script: RedisScript,
        _ names: Keyspace.Names,
        _ keys: [RedisArgument],
        _ arguments: [RedisArgument],
        timeout: Duration? = nil,
        _ reply: @escaping ReplyHandler<LeaseReply>,
        read: @escaping @Sendable (ScriptReply) throws(LeaseStoreError) -> LeaseReply
    ) {
        guard self.outstanding.begin() else { return reply(.failure(.storeIsShutDown)) }
        self.send(script, names, keys, arguments, timeout: timeout) { result in
            reply(self.read(result) { value throws(LeaseStoreError) in try read(.checked(value)) })
            self.outstanding.end()
        }
    }

    /// The same for an answer that is no reply yet.
    ///
    /// - Parameter isForeignExpected: whether `read` understands that a value is none that this protocol writes.
    func ask<Answer: Sendable>(
        _ script: RedisScript,
        _ names: Keyspace.Names,
        _ keys: [RedisArgument],
        _ arguments: [RedisArgument],
        timeout: Duration? = nil,
        isForeignExpected: Bool = false,
        _ reply: @escaping ReplyHandler<Answer>,
        read: @escaping @Sendable (ScriptReply) throws(LeaseStoreError) -> Answer
    ) {
        self.submit(reply) { done in
            self.send(script, names, keys, arguments, timeout: timeout) { result in
                done(
                    self.read(result) { value throws(LeaseStoreError) in
                        try read(isForeignExpected ? ScriptReply(value) : .checked(value))
                    }
                )
            }
        }
    }

    func send(
        _ script: RedisScript,
        _ names: Keyspace.Names,
        _ keys: [RedisArgument],
        _ arguments: [RedisArgument],
        timeout: Duration? = nil,
        _ completion: @escaping RedisClient.Completion
    ) {
        self.client.evaluate(
            script,
            keys: keys,
            arguments: arguments,
            timeout: timeout ?? self.commandTimeout,
            order: names.order,
            completion: completion
        )
    }

    /// Sends a request, unless the store is shut down, and keeps count of it until it is answered.
    ///
    /// `send` gets what it must call once: with the reply, or with `nil` if somebody else answers.
    func submit<Answer: Sendable>(
        _ reply: @escaping ReplyHandler<Answer>,
        _ send: (@escaping @Sendable (Result<Answer, LeaseStoreError>?) -> Void) -> Void
    ) {
        guard self.outstanding.begin() else { return reply(.failure(.storeIsShutDown)) }
        send { result in
            if let result {
                reply(result)
            }
            self.outstanding.end()
        }
    }

    func read<Answer>(
        _ result: Result<RESPValue, RedisClientError>,
        _ body: (RESPValue) throws(LeaseStoreError) -> Answer
    ) -> Result<Answer, LeaseStoreError> {
        switch result {
        case .success(let value):
            do {
                return .success(try body(value))
            } catch {
                return .failure(error)
            }
        case .failure(let error):
            return .failure(self.failure(error))
        }
    }

    /// As ``read(_:_:)``, of what carried a long result.
    func readLong(
        _ result: Result<RESPValue, RedisClientError>,
        bytes: Int,
        _ wasCutTwice: Bool,
        _ read: (ScriptReply) throws(LeaseStoreError) -> LeaseReply
    ) -> Result<LeaseReply, LeaseStoreError> {
        if wasCutTwice, case .failure(let error) = result {
            return .failure(.tooLarge(bytes, because: self.failure(error)))
        }
        return self.read(result) { value throws(LeaseStoreError) in try read(.checked(value)) }
    }

    /// What a failure of the client means for a request. The first of a kind is a warning.
    func failure(_ error: RedisClientError) -> LeaseStoreError {
        var failure = LeaseStoreError(error)
        switch failure.code {
        case .unavailable, .down:
            if case .new = self.life.withLock({ $0 }) {
                failure.message = "run() of the store was never called: add the store to a ServiceGroup"
                self.warnings.neverRun(failure)
            }
        case .refused:
            self.warnings.refused(failure)
        default:
            break
        }
        return failure
    }

    /// What scripts append an inbox's id to.
    func inboxPrefix(_ names: Keyspace.Names) -> RedisArgument {
        self.shardInboxes.areUsed ? names.inboxPrefix : .string(self.keyspace.inboxPrefix)
    }

    /// The last argument of every script that publishes events; empty if it shall not.
    func eventChannel(_ names: Keyspace.Names) -> RedisArgument {
        guard self.configuration.publishesEvents else { return "" }
        return self.shardInboxes.areUsed ? names.eventChannel : .string(self.keyspace.eventChannel)
    }

    func record(
        token: LeaseToken,
        terms: LeaseTerms,
        note: LeaseNote,
        key: FlightKey?
    ) -> LeaseRecord {
        LeaseRecord(
            token: token,
            inbox: self.inbox,
            duration: terms.duration,
            grace: terms.grace,
            retention: terms.retention,
            leaderLoss: terms.leaderLoss,
            note: LeaseRecord.Note(note, key: key)
        )
    }
}
