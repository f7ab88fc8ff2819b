import NIOCore

/// Asks one server some commands on a connection of its own, once: no attempt is repeated.
///
/// Lives on its event loop and is used from nowhere else.
final class RedisQuestion {
    private let commands: [RedisCommand]
    private let place: RedisPlace
    private let configuration: RedisClientConfiguration
    private let limit: TimeAmount
    private let eventLoop: any EventLoop
    private let promise: EventLoopPromise<[RESPValue]>
    private var connection: RedisConnection?
    private var answers: [RESPValue] = []
    private var isOver = false

    private init(
        _ commands: [RedisCommand],
        at place: RedisPlace,
        configuration: RedisClientConfiguration,
        within limit: TimeAmount,
        on eventLoop: any EventLoop
    ) {
        self.commands = commands
        self.place = place
        self.configuration = configuration
        self.limit = limit
        self.eventLoop = eventLoop
        promise = eventLoop.makePromise(of: [RESPValue].self)
    }

    /// The answers, error replies among them; a ``RedisClientError`` after `limit` at the latest. On `eventLoop` only.
    static func ask(
        _ commands: [RedisCommand],
        at place: RedisPlace,
        configuration: RedisClientConfiguration,
        within limit: TimeAmount,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<[RESPValue]> {
        let question = RedisQuestion(commands, at: place, configuration: configuration, within: limit, on: eventLoop)
        question.begin()
        return question.promise.futureResult
    }

    /// What waits for the answer keeps the question alive.
    private func begin() {
        let timer = eventLoop.assumeIsolated().scheduleTask(in: limit) {
            self.end(.failure(RedisClientError(.timedOut, "no answer in time from \(self.place.address)")))
        }
        promise.futureResult.assumeIsolated().whenComplete { _ in timer.cancel() }
        guard let credentials = place.credentials else { return open(login: nil) }
        credentials.login(on: eventLoop, within: limit).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let login): self.open(login: login)
            case .failure(let error): self.end(.failure(error))
            }
        }
    }

    private func open(login: RedisCredentials.Login?) {
        guard !isOver else { return }
        RedisConnector(place: place, timeout: limit, eventLoop: eventLoop).connect().assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel): self.opened(channel, login)
                case .failure(let error):
                    self.end(.failure(RedisClientError.connecting(to: self.place, failedWith: error)))
                }
            }
    }

    private func opened(_ channel: any Channel, _ login: RedisCredentials.Login?) {
        guard !isOver else { return channel.close(mode: .all, promise: nil) }
        let connection = RedisConnection(
            channel: channel,
            machine: ConnectionMachine(
                handshake: Handshake(configuration, login: login),
                channel: nil,
                times: .init(handshakeTimeout: limit, pingInterval: limit, pingTimeout: limit, silence: limit),
                now: eventLoop.now
            ),
            limits: RESPLimits(),
            silence: limit,
            hintOnSilence: place.hintOnSilence,
            delegate: self
        )
        self.connection = connection
        do {
            try channel.pipeline.syncOperations.addHandler(connection)
        } catch {
            connection.close(.connecting(to: place, failedWith: error))
        }
    }

    private func answered(_ result: Result<RESPValue, RedisClientError>) {
        switch result {
        case .success(let value):
            answers.append(value)
        case .failure(let error):
            guard error.code == .server, let reply = error.serverError else { return end(.failure(error)) }
            answers.append(.error(reply))
        }
        if answers.count == commands.count { end(.success(answers)) }
    }

    private func end(_ result: Result<[RESPValue], any Error>) {
        guard !isOver else { return }
        isOver = true
        promise.completeWith(result)
        connection?.close(RedisClientError(.shutDown, "all that was to be asked was answered"))
        connection = nil
    }
}

extension RedisQuestion: RedisConnectionDelegate {
    func connectionBecameReady(_ connection: RedisConnection) {
        var bytes = ByteBuffer()
        let deadline = eventLoop.now + limit
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let submissions = commands.map { command in
            Submission(
                completion: RedisClient.Kept { result in bound.value.answered(result) },
                deadline: deadline,
                byteCount: command.encode(into: &bytes)
            )
        }
        connection.write(bytes, submissions, earliest: deadline)
    }

    func connectionBecameWritable(_ connection: RedisConnection) {}

    func connection(_ connection: RedisConnection, received message: [UInt8]) {}

    func connection(_ connection: RedisConnection, closed reason: RedisClientError) {
        self.connection = nil
        let message = "\(place.address): \(reason.message)"
        end(.failure(RedisClientError(reason.code, message, underlying: reason.underlying)))
    }
}
