import NIOCore

/// What sentinels are asked, and what their answers mean.
struct SentinelQuestion: Sendable {
    let deployment: SentinelDeployment
    let configuration: RedisClientConfiguration

    /// - Parameter configuration: that of the client for the servers.
    init(_ deployment: SentinelDeployment, _ configuration: RedisClientConfiguration) {
        self.deployment = deployment
        var own = configuration
        own.target = RedisTarget(
            .sentinel(deployment),
            credentials: deployment.credentials,
            tls: deployment.tls
        )
        own.finder = nil
        own.requiresPrimary = false
        own.scripts = []
        own.purpose = .sentinel
        // A user for sentinels may be without the right to PING; that a name is refused does no harm.
        own.clientName = own.clientName ?? "singleflight"
        self.configuration = own
    }

    func place(_ index: Int) -> RedisPlace {
        RedisPlace(
            address: deployment.sentinels[index],
            tls: deployment.tls,
            credentials: deployment.credentials
        )
    }

    /// How long one sentinel may take: it is not the last one that can be asked within the time of a command.
    var limit: TimeAmount {
        TimeAmount(min(max(configuration.commandTimeout / 2, .milliseconds(250)), .seconds(1)))
    }

    /// Asks one sentinel where the primary is. On the event loop only.
    func ask(
        _ index: Int,
        on eventLoop: any EventLoop,
        _ completion: @escaping @Sendable (SentinelMachine.Reply) -> Void
    ) {
        let name = RedisArgument.string(deployment.primary)
        RedisQuestion.ask(
            [RedisCommand("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), RedisCommand("SENTINEL", "MASTER", name)],
            at: place(index),
            configuration: configuration,
            within: limit,
            on: eventLoop
        ).whenComplete { result in completion(reply(of: index, result)) }
    }

    func reply(of index: Int, _ result: Result<[RESPValue], any Error>) -> SentinelMachine.Reply {
        let address = deployment.sentinels[index]
        switch result {
        case .failure(let error):
            guard let error = error as? RedisClientError else {
                return .failed(RedisClientError(.connectionFailed, "\(address): \(error)", underlying: error))
            }
            return .failed(Self.explained(error, address))
        case .success(let answers):
            switch answers[0] {
            case .null: return .unknownName
            case .error(let error) where error.code == "IDONTKNOW": return .unknownName
            case .error(let error): return .failed(Self.failure(error, address))
            default: break
            }
            guard let parts = answers[0].array, parts.count == 2, let host = parts[0].string,
                let port = parts[1].string, let primary = SentinelMachine.address(host: host, port: port)
            else {
                return .failed(RedisClientError(.protocolViolation, "\(address) does not answer as a sentinel does"))
            }
            let epoch = Self.fields(answers[1])["config-epoch"].flatMap { Int64($0) }
            return .primary(primary, epoch: epoch ?? -1)
        }
    }

    /// An array of names and values.
    static func fields(_ value: RESPValue) -> [String: String] {
        guard let array = value.array else { return [:] }
        var fields: [String: String] = [:]
        for index in stride(from: 0, to: array.count - 1, by: 2) {
            if let name = array[index].string { fields[name] = array[index + 1].string }
        }
        return fields
    }

    /// The sentinel did not let us in, or was not reached.
    private static func explained(_ error: RedisClientError, _ address: RedisAddress) -> RedisClientError {
        guard let server = error.serverError else { return error }
        return failure(server, address)
    }

    private static func failure(_ error: RedisServerError, _ address: RedisAddress) -> RedisClientError {
        switch error.code {
        case "NOAUTH":
            let advice = "give sentinel-password, and sentinel-user, in the URL"
            return RedisClientError(.authenticationFailed, "the sentinel \(address) wants a password: \(advice)")
        case "WRONGPASS":
            let advice = "check sentinel-user and sentinel-password"
            return RedisClientError(.authenticationFailed, "the sentinel \(address) refuses the login: \(advice)")
        case "NOPERM":
            let advice = "its user needs +sentinel|get-master-addr-by-name"
            return RedisClientError(.authenticationFailed, "the sentinel \(address) refuses the question: \(advice)")
        case "ERR" where error.message.hasPrefix("ERR unknown command"):
            return RedisClientError(.misconfigured, "\(address) is no sentinel: is the port right?")
        case "ERR" where error.message.contains("AUTH") || error.message.contains("password"):
            let advice = "leave sentinel-password out of the URL"
            return RedisClientError(.authenticationFailed, "the sentinel \(address) has no password: \(advice)")
        default:
            return RedisClientError(.connectionFailed, "the sentinel \(address) answers: \(error.message)")
        }
    }
}
